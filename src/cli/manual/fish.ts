import type { Flag } from '../flag.ts';
import type { Command } from './commands.ts';
import { LISTS, readSyntax } from './option-string.ts';

/** Returns the completion of a command for fish 3 and newer. */
export function fishCompletion({ name, flags, subcommands }: Command): string {
  const own = `__${name.replaceAll('-', '_')}_value`;
  const names = subcommands.map((one) => one.name).join(' ');
  const first = names === '' ? '' : ` -n 'not __fish_seen_subcommand_from ${names}'`;
  return [
    `# Completion of ${name} for fish: made by scripts/manual.ts, not to be edited.`,
    '',
    ...valueFunction(own),
    '',
    `complete -c ${name} -f`,
    ...flags.map(
      (flag) => `complete -c ${name}${flagWords(flag)}${valueWords(own, flag)}${described(flag.doc)}`,
    ),
    ...subcommands.flatMap((one) => [
      `complete -c ${name}${first} -a ${one.name}${described(one.summary)}`,
      ...behind(one.name, own, one.syntax).map((words) => `complete -c ${name}${words}`),
      ...one.flags.map(
        (flag) =>
          `complete -c ${name} -n '__fish_seen_subcommand_from ${one.name}'${flagWords(flag)}${valueWords(own, flag)}${described(flag.doc)}`,
      ),
    ]),
    '',
  ].join('\n');
}

/** Prints the candidates at a place; `<file>` is the placeholder for file names. */
function valueFunction(own: string): string[] {
  return `function ${own}
    set -l typed (commandline -ct | string replace -r '^--[a-z-]+=' '')
    set -l piece (string replace -r '^.*,' '' -- $typed)
    set -l head (string replace -r '[^,]*$' '' -- $typed)
    for word in $argv
        set -l key (string replace '<file>' '' -- $word)
        if test $key = $word
            echo $head$word
        else if string match -q -- "$key*" $piece
            set -l file (string sub -s (math 1 + (string length -- $key)) -- $piece)
            for path in (__fish_complete_path $file)
                echo $head$key$path
            end
        else
            echo $head$key
        end
    end
end`.split('\n');
}

function flagWords({ name, short }: Flag): string {
  return ` -l ${name}${short === undefined ? '' : ` -s ${short}`}`;
}

function valueWords(own: string, { takes, syntax = '' }: Flag): string {
  if (takes === 'none') return '';
  const words = choices(syntax);
  return words === '' ? ' -x' : ` -x -a '(${own} ${words})'`;
}

function behind(name: string, own: string, syntax: string): string[] {
  const words = choices(syntax);
  return words === '' ? [] : [` -n '__fish_seen_subcommand_from ${name}' -a '(${own} ${words})'`];
}

/** Returns each word and each value of each key, e.g. `path=<file> readonly=on readonly=off`, in double quotes. */
function choices(syntax: string): string {
  const { words, keys, isPath, lists } = readSyntax(syntax);
  const pairs = keys.flatMap(({ key, values, isPath: takesPath }) => [
    ...values.map((value) => `${key}=${value}`),
    ...(takesPath ? [`${key}=<file>`] : []),
    ...(takesPath || values.length > 0 ? [] : [`${key}=`]),
  ]);
  const quoted = [...words, ...pairs, ...(isPath ? ['<file>'] : [])].map((word) => `"${word}"`);
  return [...quoted, ...lists.map((list) => `(nephos ${LISTS[list]} 2>/dev/null)`)].join(' ');
}

function described(doc: string): string {
  return ` -d '${doc.replaceAll('\\', '\\\\').replaceAll("'", String.raw`\'`)}'`;
}
