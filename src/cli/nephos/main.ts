import { configureLog } from '../../util/log.ts';
import { didYouMean } from '../../util/nearest.ts';
import { USAGE_EXIT, UsageError } from '../flags.ts';
import { reportOutputErrors } from '../output-errors.ts';
import { OWN_VERSION } from '../version.ts';
import { programHelp, verbHelp } from './help.ts';
import { parseLine } from './parse.ts';
import { suggestVerb } from './suggest.ts';
import { findVerb, VERB_GROUPS, VERBS } from './table/verbs.ts';
import type { Verb } from './verb.ts';

/** Longest message, in characters: it may quote an argument of any length. */
const MESSAGE_MAX = 16_384;

/** Runs a command line of `nephos`. @returns the exit code */
async function runProgram([first, ...rest]: readonly string[]): Promise<number> {
  if (first === undefined || first === '-h' || first === '--help') return print(programHelp(VERB_GROUPS));
  if (first === '-V' || first === '--version') return print(`nephos ${OWN_VERSION}\n`);
  if (first === 'help') return print(helpOf(rest[0]));
  const verb = findVerb(first) ?? unknownVerb(first);
  try {
    const line = parseLine(verb, rest);
    if (line.has('help')) return print(verbHelp(verb));
    const { run } = await verb.load();
    return await run(line, VERBS);
  } catch (error) {
    return await report(error, verb);
  }
}

function helpOf(name: string | undefined): string {
  return name === undefined ? programHelp(VERB_GROUPS) : verbHelp(findVerb(name) ?? unknownVerb(name));
}

function unknownVerb(word: string): never {
  const known = VERBS.filter(({ isHidden }) => !isHidden).map(({ name }) => name);
  const meant = suggestVerb(word, known);
  throw new UsageError(
    `${word.startsWith('-') ? 'unknown option' : 'unknown verb'} ${word}`,
    didYouMean(meant === undefined ? undefined : `nephos ${meant}`),
  );
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

/** Prints an error: the message with its causes in one line, then the hint. @returns the exit code */
async function report(error: unknown, verb: Verb | undefined): Promise<number> {
  const { errorChain } = await import('../../api/errors.ts');
  const hint = error instanceof Error && 'hint' in error ? error.hint : undefined;
  const isUsage = error instanceof UsageError;
  const help = `For more information try nephos ${verb === undefined ? '' : `${verb.name} `}--help`;
  const lines = [
    `nephos: ${errorChain(error).join(': ')}`,
    ...(typeof hint === 'string' ? [hint] : []),
    ...(isUsage ? [help] : []),
  ];
  process.stderr.write(`${lines.join('\n').slice(0, MESSAGE_MAX)}\n`);
  return isUsage && verb?.failure === undefined ? USAGE_EXIT : (verb?.failure ?? 1);
}

configureLog({
  level: 'warn',
  write: (text) => void process.stderr.write(text),
  render: (message) => `nephos: ${message}`,
});
reportOutputErrors('nephos: ');
runProgram(process.argv.slice(2))
  .catch((error: unknown) => report(error, undefined))
  .then((code) => (process.exitCode = code))
  .catch((error: unknown) => {
    process.exitCode = 1;
    process.stderr.write(`${String(error)}\n`);
  });
