import type { Flag } from '../flag.ts';
import { flagsOf } from './parse.ts';
import type { Verb } from './verb.ts';

const WIDTH = 100;
/** Column of the descriptions of verbs, and of flags. */
const VERB_COLUMN = 14;
const FLAG_COLUMN = 30;

/** A group of verbs in the help. */
export interface VerbGroup {
  readonly title: string;
  readonly verbs: readonly Verb[];
}

/** Returns the text of `nephos --help`. */
export function programHelp(groups: readonly VerbGroup[]): string {
  return [
    'Usage: nephos VERB [OPTIONS] [ARGUMENTS]',
    '',
    'Runs commands in virtual machines: from an image to an exit code.',
    '',
    'Examples:',
    ...examples([
      { command: 'nephos run --rm alpine:3.20 -- uname -a', shows: 'run a command in a fresh VM' },
      { command: 'nephos run -it --rm debian:13 -- bash', shows: 'work in a terminal' },
      { command: 'nephos run -d --name web -p 8080:80 nginx', shows: 'start a service' },
      { command: 'nephos exec web -- nginx -t', shows: 'run a further command in it' },
      { command: 'nephos doctor', shows: 'check this machine' },
    ]),
    ...groups.flatMap(({ title, verbs }) => [
      '',
      `${title}:`,
      ...verbs.filter(({ isHidden }) => !isHidden).map(verbLine),
    ]),
    '',
    'Options:',
    '  -h, --help     Show this help',
    '  -V, --version  Show the version',
    '',
    'nephos VERB --help explains a verb, with examples.',
    '',
  ].join('\n');
}

/** Returns the text of `nephos VERB --help`. */
export function verbHelp(verb: Verb): string {
  return [
    `Usage: nephos ${verb.name} ${verb.usage}`.trimEnd(),
    '',
    `${verb.summary}.`,
    ...(verb.details ?? []).flatMap((text) => ['', ...wrap(text, 0)]),
    '',
    'Examples:',
    ...examples(verb.examples),
    '',
    'Options:',
    ...flagsOf(verb).flatMap(flagLines),
    '',
  ].join('\n');
}

function examples(list: Verb['examples']): string[] {
  return list.flatMap(({ command, shows }) => [`  # ${shows}`, `  ${command}`]);
}

function verbLine({ name, summary }: Verb): string {
  return `  ${name.padEnd(VERB_COLUMN)}${summary}`;
}

function flagLines({ name, short, takes, doc, syntax = '', fallback = '' }: Flag): string[] {
  const letter = short === undefined ? '    ' : `-${short}, `;
  const value = takes === 'none' ? '' : ` ${syntax}`;
  const head = `  ${letter}--${name}${value}`;
  const notes = [fallback === '' ? '' : ` [default: ${fallback}]`, takes === 'many' ? ' (repeatable)' : ''];
  const [first = '', ...rest] = wrap(`${doc}${notes.join('')}`, FLAG_COLUMN);
  if (head.length >= FLAG_COLUMN - 1) return [head, first, ...rest];
  return [`${head.padEnd(FLAG_COLUMN)}${first.trimStart()}`, ...rest];
}

/** Wraps a text at spaces. */
function wrap(text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  return [...lines, line].map((one) => `${' '.repeat(indent)}${one}`);
}
