import type { Flag } from './flag.ts';
import { expectedValue, suggestFlag } from './flag-hints.ts';

/*
 * Command lines of both programs.
 *
 *   flag.ts, flags.ts     a flag, and the parser of a command line; flag-hints.ts: suggestions after an error
 *   daemon-*.ts           flags and help of `cloud-hypervisor`; vm-flags.ts: those of the VM, from the table of devices
 *   remote.ts             entry of `ch-remote`; remote-run.ts runs one sub-command of remote-commands.ts
 *   remote-*.ts           its arguments, request bodies and connection
 *   manual/               man pages, completions and docs/configuration.md, from the same tables
 *
 * Invariant: a flag, a sub-command and its help are declared once, in a table. Exit codes are in docs/running.md.
 */

/** A command line that cannot be parsed. The message is one line for the user. */
export class UsageError extends Error {
  /** expected or intended text; printed on a line of its own, because programs may compare the message */
  readonly hint: string | undefined;

  constructor(message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'UsageError';
    this.hint = hint;
  }
}

/**
 * A flag's value that cannot be parsed or is invalid. Cloud Hypervisor parses values after its command line. This is therefore
 * not a usage error: the exit code is that of a failed start.
 */
export class OptionError extends UsageError {}

/** Exit code of a usage error, in both programs. */
export const USAGE_EXIT = 2;

/** Parsed command line: the values of each flag in order, and its number of occurrences. */
export interface ParsedFlags {
  readonly values: (name: string) => readonly string[];
  readonly count: (name: string) => number;
}

/**
 * Parses a command line as Cloud Hypervisor does: `--flag value`, `--flag=value`, `--disk a b`, `-vv`.
 * A value list ends at the next word that starts with a dash.
 * @throws UsageError
 */
export function parseFlags(flags: readonly Flag[], argv: readonly string[]): ParsedFlags {
  const values = new Map<string, string[]>();
  const counts = new Map<string, number>();
  const words = [...argv];
  let before: Flag | undefined;
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    for (const { flag, given } of readWord(flags, word, before)) {
      before = flag;
      const times = (counts.get(flag.name) ?? 0) + 1;
      if (times > 1 && flag.takes === 'one')
        throw new UsageError(`${named(flag)} was provided more than once, but cannot be used multiple times`);
      counts.set(flag.name, times);
      if (flag.takes !== 'none') {
        values.set(flag.name, [...(values.get(flag.name) ?? []), ...takeValues(flag, given, words)]);
      }
    }
  }
  return { values: (name) => values.get(name) ?? [], count: (name) => counts.get(name) ?? 0 };
}

interface Found {
  readonly flag: Flag;
  readonly given: string | undefined;
}

/** Parses `--name`, `--name=value`, or letters after one dash. */
function readWord(flags: readonly Flag[], word: string, before: Flag | undefined): Found[] {
  if (word.startsWith('--')) {
    const equals = word.indexOf('=');
    const name = word.slice(2, equals < 0 ? undefined : equals);
    const flag = flags.find((one) => one.name === name);
    if (flag === undefined) throw unexpected(`--${name}`, suggestFlag(flags, name));
    const given = equals < 0 ? undefined : word.slice(equals + 1);
    if (flag.takes === 'none' && given !== undefined) throw new UsageError(`${named(flag)} takes no value`);
    return [{ flag, given }];
  }
  if (!/^-[^-]/.test(word)) throw unexpected(word, strayHint(flags, word, before));
  return word
    .slice(1)
    .split('')
    .map((letter) => {
      const flag = flags.find((one) => one.short === letter);
      // `-kernel` is a flag with one dash, not six letters
      if (flag === undefined)
        throw unexpected(word.length > 2 ? word : `-${letter}`, suggestFlag(flags, word));
      return { flag, given: undefined };
    });
}

function takeValues(flag: Flag, given: string | undefined, words: string[]): string[] {
  const taken = given === undefined ? [] : [given];
  const most = flag.takes === 'one' ? 1 : Infinity;
  while (taken.length < most && words[0] !== undefined && !words[0].startsWith('-'))
    taken.push(...words.splice(0, 1));
  if (taken.length > 0) return taken;
  if (flag.fallback === undefined)
    throw new UsageError(`${named(flag)} requires a value but none was supplied`, expectedValue(flag));
  return [flag.fallback];
}

function named(flag: Flag): string {
  return `the argument '--${flag.name}${flag.takes === 'none' ? '' : ` <${flag.name}>`}'`;
}

/** Returns a hint for a word that belongs to no flag: a flag's name without dashes, or a superfluous value. */
function strayHint(flags: readonly Flag[], word: string, before: Flag | undefined): string | undefined {
  if (flags.some(({ name }) => name === word)) return suggestFlag(flags, word);
  if (before === undefined || before.takes === 'many') return undefined;
  return `--${before.name} takes ${before.takes === 'none' ? 'no' : 'one'} value`;
}

function unexpected(word: string, hint: string | undefined): UsageError {
  return new UsageError(
    `found argument '${word}' which wasn't expected, or isn't valid in this context`,
    hint,
  );
}
