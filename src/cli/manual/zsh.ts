import type { Flag } from '../flag.ts';
import type { Command } from './commands.ts';
import { LISTS, readSyntax } from './option-string.ts';

/** Returns the completion of a command for zsh, for a file `_<command>` on its `fpath`. */
export function zshCompletion({ name, flags, subcommands }: Command): string {
  const own = `_${name.replaceAll('-', '_')}`;
  const values = [
    ...flags.filter(({ takes }) => takes !== 'none').map((flag) => [flag.name, flag.syntax ?? ''] as const),
    ...subcommands.flatMap(({ name: verb, flags: ofVerb }) =>
      ofVerb
        .filter(({ takes }) => takes !== 'none')
        .map((flag) => [`${verb} ${flag.name}`, flag.syntax ?? ''] as const),
    ),
    ...subcommands.map((one) => [one.name, one.syntax] as const),
  ].filter(([, syntax]) => hasCandidates(syntax));
  return [
    `#compdef ${name}`,
    `# Completion of ${name} for zsh: made by scripts/manual.ts, not to be edited.`,
    '',
    ...values.flatMap(([of, syntax]) => [...valueFunction(functionOf(own, of), of, syntax), '']),
    ...(subcommands.length === 0 ? [] : [...commandsFunction(own, subcommands), '']),
    `${own}() {`,
    ...(subcommands.length === 0 ? [] : ['  local context state state_descr line', '  typeset -A opt_args']),
    '  _arguments \\',
    ...flags.flatMap((flag) => specsOf(own, flag)).map((spec) => `    ${quoted(spec)} \\`),
    ...(subcommands.length === 0 ? ['    && return'] : subcommandsOf(own, subcommands)),
    '}',
    '',
    `${own} "$@"`,
    '',
  ].join('\n');
}

function functionOf(own: string, name: string): string {
  return `${own}_${name.replaceAll(/[- ]/g, '_')}`;
}

function hasCandidates(syntax: string): boolean {
  const { words, keys, isPath, lists } = readSyntax(syntax);
  return isPath || words.length + keys.length + lists.length > 0;
}

/** Returns a function for each value, so that specifications need no second level of quotes. */
function valueFunction(name: string, what: string, syntax: string): string[] {
  const { words, keys, isPath, lists } = readSyntax(syntax);
  const program = name.replace(/^_([a-z]+)_.*$/s, '$1');
  const listed = lists.map((list) => `compadd -- \${(f)"$(${program} ${LISTS[list]} 2>/dev/null)"}`);
  if (listed.length > 0) return [`${name}() { ${[...listed, ...(isPath ? ['_files'] : [])].join('; ')} }`];
  if (keys.length === 0) return [`${name}() { ${isPath ? '_files' : `compadd -- ${words.join(' ')}`} }`];
  const specs = [
    ...words.map((word) => quoted(word)),
    ...keys.map(({ key, values, isPath: takesPath }) =>
      quoted(`${key}:${key}:${takesPath ? '_files' : `(${values.join(' ')})`}`),
    ),
  ];
  const lines = [`${name}() {`, `  _values -s , ${what} \\`, ...specs.map((spec) => `    ${spec} \\`)];
  return [...lines, isPath ? '    || _files' : '    && return', '}'];
}

function commandsFunction(own: string, subcommands: Command['subcommands']): string[] {
  return [
    `${own}_commands() {`,
    '  local -a commands=(',
    ...subcommands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`),
    '  )',
    '  _describe -t commands command commands',
    '}',
  ];
}

function subcommandsOf(own: string, subcommands: Command['subcommands']): string[] {
  return [
    `    ': :${own}_commands' \\`,
    "    '*:: :->rest' && return",
    '  case $words[1] in',
    ...subcommands.flatMap(({ name, syntax, flags }) => {
      const specs = flags.flatMap((flag) => specsOf(own, flag, `${name} `)).map(quoted);
      const repeats = readSyntax(syntax).lists.length > 0 ? '*' : '';
      if (hasCandidates(syntax)) specs.push(`'${repeats}: :${functionOf(own, name)}'`);
      return specs.length === 0 ? [] : [`    ${name}) _arguments ${specs.join(' ')} ;;`];
    }),
    '  esac',
  ];
}

/** Returns the specification of a flag. `*` before it: it may be given again. */
function specsOf(own: string, { name, short, takes, doc, syntax = '' }: Flag, command = ''): string[] {
  const text = `[${doc.replace(/[[\]:]/g, String.raw`\$&`)}]`;
  if (takes === 'none') {
    return [`--${name}${text}`, ...(short === undefined ? [] : [`*-${short}${text}`])];
  }
  const value = hasCandidates(syntax) ? functionOf(own, `${command}${name}`) : ' ';
  const many = takes === 'many' ? '*' : '';
  return [
    `${many}--${name}=${text}:${name}:${value}`,
    ...(short === undefined ? [] : [`${many}-${short}+${text}:${name}:${value}`]),
  ];
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
