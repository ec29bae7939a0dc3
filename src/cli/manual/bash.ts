import type { Command } from './commands.ts';
import { LISTS, readSyntax } from './option-string.ts';

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
    ...flags.flatMap((flag) => flagPlaces('*', flag)),
    ...subcommands.flatMap((one) => one.flags.flatMap((flag) => flagPlaces(one.name, flag))),
    ...subcommands.map((one) => place(one.name, one.syntax)),
  ];
  const hasLists = places.some(({ syntax }) => readSyntax(syntax).lists.length > 0);
  const ownFlags = subcommands.filter((one) => one.flags.length > 0);
  return `# Completion of ${name} for bash: made by scripts/manual.ts, not to be edited.

# Prints the candidates at a place, a sub-command or <sub-command>:<flag>: words, and keys that end in "=".
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
  ownFlags.map((one) => place(one.name, one.flags.flatMap(spellings).join(' '))),
  (one) => one.syntax,
)}  esac
}

# Succeeds if the next word is the value of this flag of a sub-command.
${own}_takes_value() {
  case $2:$1 in
    ${valueFlags(places)}) return 0 ;;
  esac
  return 1
}

${body(own, { hasSubcommands: subcommands.length > 0, hasLists })}${hasLists ? listing(name, own) : ''}
complete -F ${own} ${name}
`;
}

function place(name: string, syntax = ''): Place {
  return { name, syntax };
}

/** Returns the places of a flag's value: one for each spelling. */
function flagPlaces(command: string, flag: Command['flags'][number]): Place[] {
  if (flag.takes === 'none') return [];
  return spellings(flag).map((spelling) => place(`${command}:${spelling}`, flag.syntax));
}

function cases(places: readonly Place[], shown: (one: Place) => string): string {
  return places
    .map((one) => [one.name, shown(one)] as const)
    .filter(([, words]) => words !== '')
    .map(([name, words]) => `    ${name}) echo '${words}' ;;\n`)
    .join('');
}

function wordsAt({ syntax }: Place): string {
  const { words, keys, isPath, lists } = readSyntax(syntax);
  return [...words, ...keys.map(({ key }) => `${key}=`), ...lists, ...(isPath ? [FILES] : [])].join(' ');
}

function keysAt({ name, syntax }: Place): Place[] {
  return readSyntax(syntax).keys.map(({ key, values, isPath }) =>
    place(`${name}:${key}`, [...values, ...(isPath ? [FILES] : [])].join(' ')),
  );
}

function spellings({ name, short }: Command['flags'][number]): string[] {
  return [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];
}

function valueFlags(places: readonly Place[]): string {
  return places
    .map(({ name }) => name)
    .filter((name) => name.includes(':'))
    .join(' | ');
}

/** Returns the function that replaces placeholders by the names that the program lists. */
function listing(name: string, own: string): string {
  const replaced = Object.entries(LISTS).map(
    ([placeholder, verb]) =>
      `  if [[ " $list " == *' ${placeholder} '* ]]; then list="\${list//'${placeholder}'/} $(${name} ${verb} 2>/dev/null)"; fi`,
  );
  return `

# Replaces the placeholders of names.
${own}_list() {
${replaced.join('\n')}
}`;
}

/**
 * Returns the completion function. Bash splits words at "=" and ":", so the function takes the word from the line, and
 * returns only the part of a candidate behind the last separator.
 */
function body(
  own: string,
  { hasSubcommands, hasLists }: { readonly hasSubcommands: boolean; readonly hasLists: boolean },
): string {
  // values of a flag extend to the next flag; the value of an option may be followed by the sub-command
  const findPlace = hasSubcommands
    ? `    if ${own}_takes_value "$last" "$place"; then last=''
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
  if ${own}_takes_value "$last" "$place"; then place=$place:$last; fi
  rest=$typed
  if [[ $typed == --*=* ]]; then
    place=$place:\${typed%%=*} rest=\${typed#*=} head=\${typed%%=*}=
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
${hasLists ? `  ${own}_list\n` : ''}  if [[ " $list " == *' ${FILES} '* ]]; then
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
