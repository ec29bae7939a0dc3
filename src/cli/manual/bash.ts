import type { Command } from './commands.ts';
import { readSyntax } from './option-string.ts';

/** Placeholder for file names. */
const FILES = '<file>';

/** Place on the command line: a flag or a sub-command, and the syntax of its value. */
interface Place {
  readonly name: string;
  readonly syntax: string;
}

/** Returns the completion of a command for bash 4.2 and newer. It needs no package. */
export function bashCompletion({ name, flags, subcommands }: Command): string {
  const own = `_${name.replaceAll('-', '_')}`;
  const places: Place[] = [
    ...flags.filter(({ takes }) => takes !== 'none').map((flag) => place(`--${flag.name}`, flag.syntax)),
    ...subcommands.map((one) => place(one.name, one.syntax)),
  ];
  const ownFlags = subcommands.filter((one) => one.flags.length > 0);
  return `# Completion of ${name} for bash: made by scripts/manual.ts, not to be edited.

# Prints the candidates at a place: words, and keys that end in "=".
${own}_words() {
  case $1 in
    '') echo '${subcommands.map((one) => one.name).join(' ')}' ;;
${cases(places, wordsAt)}  esac
}

# Prints the values of a key at a place.
${own}_values() {
  case $1:$2 in
${cases(places.flatMap(keysAt), (one) => one.syntax)}  esac
}

${own}_flags() {
  echo '${flags.flatMap(spellings).join(' ')}'
  case $1 in
${cases(
  ownFlags.map((one) => place(one.name, one.flags.map((flag) => `--${flag.name}`).join(' '))),
  (one) => one.syntax,
)}  esac
}

# Succeeds if the next word is the value of this flag.
${own}_takes_value() {
  case $1 in
    ${valueFlags([...flags, ...ownFlags.flatMap((one) => one.flags)])}) return 0 ;;
  esac
  return 1
}

${body(own, subcommands.length > 0)}
complete -F ${own} ${name}
`;
}

function place(name: string, syntax = ''): Place {
  return { name, syntax };
}

function cases(places: readonly Place[], shown: (one: Place) => string): string {
  return places
    .map((one) => [one.name, shown(one)] as const)
    .filter(([, words]) => words !== '')
    .map(([name, words]) => `    ${name}) echo '${words}' ;;\n`)
    .join('');
}

function wordsAt({ syntax }: Place): string {
  const { words, keys, isPath } = readSyntax(syntax);
  return [...words, ...keys.map(({ key }) => `${key}=`), ...(isPath ? [FILES] : [])].join(' ');
}

function keysAt({ name, syntax }: Place): Place[] {
  return readSyntax(syntax).keys.map(({ key, values, isPath }) =>
    place(`${name}:${key}`, [...values, ...(isPath ? [FILES] : [])].join(' ')),
  );
}

function spellings({ name, short }: Command['flags'][number]): string[] {
  return [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];
}

function valueFlags(flags: Command['flags']): string {
  return flags
    .filter(({ takes }) => takes !== 'none')
    .map(({ name }) => `--${name}`)
    .join(' | ');
}

/**
 * Returns the completion function. Bash splits words at "=" and ":", so the function takes the word from the line, and
 * returns only the part of a candidate behind the last separator.
 */
function body(own: string, hasSubcommands: boolean): string {
  // values of a flag extend to the next flag; the value of an option may be followed by the sub-command
  const findPlace = hasSubcommands
    ? `    if ${own}_takes_value "$last"; then last=''
    elif [[ $word == -* ]]; then last=$word
    else place=\${place:-$word} last=''; fi`
    : `    [[ $word != -* ]] || last=$word`;
  return `${own}() {
  local line=\${COMP_LINE:0:COMP_POINT} place='' last='' head='' word typed rest key one list
  local -a words
  COMPREPLY=()
  typed=\${line##*[[:blank:]]}
  read -ra words <<<"\${line%"$typed"}"
  for word in "\${words[@]:1}"; do
${findPlace}
  done
  if ${own}_takes_value "$last"; then place=$last; fi
  rest=$typed
  if [[ $typed == --*=* ]]; then
    place=\${typed%%=*} rest=\${typed#*=} head=\${typed%%=*}=
  elif [[ $typed == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(${own}_flags "$place")" -- "$typed")
    return
  fi
  key=\${rest##*,}
  head+=\${rest%"$key"} rest=$key
  list=$(${own}_words "$place")
  if [[ $list == *=* ]]; then compopt -o nospace 2>/dev/null; fi
  if [[ $rest == *=* ]]; then
    key=\${rest%%=*} rest=\${rest#*=} head+=$key=
    list=$(${own}_values "$place" "$key")
  fi
  if [[ " $list " == *' ${FILES} '* ]]; then
    # as file names, keys would be quoted
    if [[ $list != *=* ]]; then compopt -o filenames 2>/dev/null; fi
    mapfile -t COMPREPLY < <(compgen -f -- "$rest")
    list=\${list%${FILES}}
  fi
  mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$list" -- "$rest")
  one=\${typed%"\${typed##*[=:]}"}
  if [[ $COMP_WORDBREAKS != *=* ]]; then one=''; fi
  COMPREPLY=("\${COMPREPLY[@]/#/$head}")
  COMPREPLY=("\${COMPREPLY[@]#"$one"}")
}`;
}
