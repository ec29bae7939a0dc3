import type { Flag } from '../flag.ts';
import { UsageError } from '../flags.ts';
import { didYouMean, nearest } from '../../util/nearest.ts';
import { FLAG_HINTS } from './suggest.ts';
import type { CommandLine, Verb } from './verb.ts';

/** Flag that each verb has. */
export const HELP_FLAG: Flag = { name: 'help', short: 'h', takes: 'none', doc: 'Show this help' };

/**
 * Parses the words after a verb as docker does: `--flag value`, `--flag=value`, `-f value`, `-fvalue`, `-it`, `--rm=false`; `--` ends the
 * flags. Of a flag with one value the last applies. For a verb with a command the first word that is no flag ends the flags.
 * @throws UsageError
 */
export function parseLine(verb: Verb, argv: readonly string[]): CommandLine {
  const given = new Map<string, string[]>();
  const words = [...argv];
  const operands = takeOperands(verb, words, given);
  if (verb.hasCommand && words[0] === '--') words.shift();
  const line = makeLine(verb, given, { operands, command: words });
  if (!line.has('help')) checkOperands(line);
  return line;
}

/** Takes flags and operands from the words; the command of the guest is left. */
function takeOperands(verb: Verb, words: string[], given: Map<string, string[]>): string[] {
  const operands: string[] = [];
  let isEnded = false;
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (isEnded || !isFlag(word)) {
      operands.push(word);
      if (verb.hasCommand && operands.length >= verb.operands[1]) break;
    } else if (word === '--') {
      isEnded = true;
      if (verb.hasCommand && startsCommand(verb, given)) break;
    } else {
      for (const [name, value] of readFlag(verb, word, words))
        given.set(name, [...(given.get(name) ?? []), value]);
    }
  }
  return operands;
}

/** Returns true if a `--` before any operand starts the command: a kernel takes the place of the image. */
function startsCommand(verb: Verb, given: ReadonlyMap<string, readonly string[]>): boolean {
  return verb.operands[0] === 0 && given.has('kernel');
}

function makeLine(
  verb: Verb,
  given: ReadonlyMap<string, readonly string[]>,
  { operands, command }: Pick<CommandLine, 'operands' | 'command'>,
): CommandLine {
  return {
    verb,
    has: (flag) => (given.get(flag) ?? ['false']).at(-1) !== 'false',
    value: (flag) => given.get(flag)?.at(-1),
    values: (flag) => given.get(flag) ?? [],
    operands,
    command,
  };
}

/** Returns true for a word that starts a flag. A single dash is an operand: a standard stream. */
function isFlag(word: string): boolean {
  return word.startsWith('-') && word !== '-';
}

function readFlag(verb: Verb, word: string, words: string[]): readonly (readonly [string, string])[] {
  return word.startsWith('--') ? [readLong(verb, word, words)] : readShort(verb, word, words);
}

function readLong(verb: Verb, word: string, words: string[]): readonly [string, string] {
  const equals = word.indexOf('=');
  const name = word.slice(2, equals < 0 ? undefined : equals);
  const value = equals < 0 ? undefined : word.slice(equals + 1);
  const flag = flagsOf(verb).find((one) => one.name === name);
  if (flag === undefined) throw unknownFlag(verb, `--${name}`);
  if (flag.takes === 'none') return [name, readSwitch(flag, value)];
  return [name, value ?? takeValue(verb, flag, words)];
}

/** Reads letters after one dash: flags without a value, and at last perhaps one with a value. */
function readShort(verb: Verb, word: string, words: string[]): readonly (readonly [string, string])[] {
  const found: (readonly [string, string])[] = [];
  for (let at = 1; at < word.length; at++) {
    const flag = flagsOf(verb).find(({ short }) => short === word[at]);
    if (flag === undefined) throw unknownFlag(verb, word.length > 2 ? word : `-${word[at]}`);
    const rest = word.slice(at + 1);
    if (flag.takes !== 'none') {
      const value = rest === '' ? takeValue(verb, flag, words) : rest.replace(/^=/, '');
      return [...found, [flag.name, value]];
    }
    found.push([flag.name, 'true']);
  }
  return found;
}

function readSwitch(flag: Flag, value = 'true'): string {
  if (value === 'true' || value === 'false') return value;
  throw new UsageError(`--${flag.name} takes no value`, `expected --${flag.name}, or --${flag.name}=false`);
}

function takeValue(verb: Verb, flag: Flag, words: string[]): string {
  const value = words.shift();
  if (value !== undefined) return value;
  const form = `--${flag.name} ${flag.syntax ?? 'VALUE'}`;
  throw new UsageError(`--${flag.name} requires a value`, `expected ${form}; see nephos ${verb.name} --help`);
}

/** Returns the flags of a verb, and `--help`. A verb may use the letter `h` for a flag of its own. */
export function flagsOf(verb: Verb): readonly Flag[] {
  return [...verb.flags, HELP_FLAG];
}

function unknownFlag(verb: Verb, word: string): UsageError {
  const known = flagsOf(verb).map(({ name }) => name);
  const typed = word.replace(/^-+/, '');
  const named = Object.hasOwn(FLAG_HINTS, typed) ? FLAG_HINTS[typed] : undefined;
  const intended = named !== undefined && known.includes(named) ? named : nearest(typed, known);
  const hint = intended === undefined ? undefined : `--${intended}`;
  return new UsageError(`nephos ${verb.name} has no option ${word}`, didYouMean(hint));
}

function checkOperands({ verb, operands }: CommandLine): void {
  const [least, most] = verb.operands;
  const usage = `expected nephos ${verb.name} ${verb.usage}`;
  const surplus = operands[most];
  if (surplus !== undefined)
    throw new UsageError(`nephos ${verb.name}: unexpected argument ${surplus}`, usage);
  if (operands.length < least) throw new UsageError(`nephos ${verb.name}: an argument is missing`, usage);
}
