import type { GuestCommand, RenderCommand } from './guest.ts';
import { GuestError } from './errors.ts';

/*
 * Text of a command for the log-in shell of a server, of any kind: POSIX, `csh` or `fish`. It replaces that shell by /bin/sh with a fixed
 * script, and gives the words of the command as arguments. The script replaces itself by the command, in a session of its own. The
 * process id of the shell is then that of the command, and of its process group.
 */

/** Changes the working directory to the first argument. */
const CHANGE_DIRECTORY = 'cd -- "$1" || exit 126; shift; ';

/**
 * Becomes the user of the first argument, as docker does: a UID may be absent from /etc/passwd, a group replaces the supplementary
 * groups. HOME, USER, LOGNAME and SHELL are those of the user.
 */
const CHANGE_USER = [
  'w=$1; shift; u=${w%%:*}; q=; case $w in *:*) q=${w#*:};; esac; f=',
  'while IFS=: read -r n x i p c h s; do if [ "$n" = "$u" ] || [ "$i" = "$u" ]; then f=1; break; fi; done </etc/passwd',
  'if [ -z "$f" ]; then if [ "$u" -ge 0 ] 2>/dev/null; then i=$u p=0 n= h=/ s=; ' +
    'else echo "the guest has no user $u" >&2; exit 126; fi; fi',
  'set -- env "HOME=$h" "USER=${n:-$u}" "LOGNAME=${n:-$u}" "SHELL=${s:-/bin/sh}" "$@"',
  'if [ -n "$n" ] && [ -z "$q" ]; then set -- --init-groups "$@"; else set -- --clear-groups "$@"; fi',
  'set -- setpriv "--reuid=$i" "--regid=${q:-$p}" "$@"; ',
].join('; ');

/** Starts a session where the server has not done so (dropbear, without a terminal). */
const START_SESSION =
  'g=; { read -r a b c d g e; } 2>/dev/null </proc/$$/stat; if [ -z "$g" ] || [ "$g" = $$ ]; then :; ' +
  'elif command -v setsid >/dev/null; then set -- setsid "$@"; fi; ';

/** Characters that all kinds of shells leave alone within single quotes. */
const PLAIN = /^[ -~]*$/;
const SPECIAL = /['\\!]/;

/** Renders a command for an ordinary SSH server. `first` is run before it, and may contain no quotes. */
export function renderForAnyShell(command: GuestCommand, first = ''): string {
  const words: string[] = [];
  let script = first;
  if (command.cwd !== undefined) {
    script += CHANGE_DIRECTORY;
    words.push(command.cwd.startsWith('/') ? command.cwd : `./${command.cwd}`);
  }
  if (command.user !== undefined) {
    script += CHANGE_USER;
    words.push(command.user);
  }
  script += `${START_SESSION}exec "$@"`;
  words.push(...variablesOf(command.env ?? {}), ...wordsOf(command.argv));
  return renderScript(script, words);
}

/** The {@link RenderCommand} of servers without one of their own. */
export const renderCommand: RenderCommand = (command) => renderForAnyShell(command);

/** Renders a POSIX script without single quotes, backslashes and exclamation marks, and its arguments, for any kind of shell. */
export function renderScript(script: string, words: readonly string[] = []): string {
  if (words.some((word) => word.includes('\0')))
    throw new GuestError('refused', 'a command contains a NUL character');
  if (words.every((word) => PLAIN.test(word) && !SPECIAL.test(word))) {
    return ['exec /bin/sh -c', `'${script}'`, 'sh', ...words.map((word) => `'${word}'`)].join(' ');
  }
  const whole = `set -- ${words.map(quoteWord).join(' ')}; ${script}`;
  return `exec /bin/sh -c 'eval "$(printf %b "${escape(whole)}")"'`;
}

/** Quotes a text as one word of a POSIX shell. */
export function quoteWord(text: string): string {
  return /^[\w@%+:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Returns the words of a command; a text is an argument of `sh -c`. */
export function wordsOf(argv: GuestCommand['argv']): readonly string[] {
  if (typeof argv === 'string') return ['/bin/sh', '-c', argv];
  if (argv.length === 0) throw new GuestError('refused', 'a command has no words');
  return argv;
}

function variablesOf(env: Readonly<Record<string, string>>): readonly string[] {
  const names = Object.keys(env);
  const wrong = names.find((name) => name === '' || /[=\0]/.test(name));
  if (wrong !== undefined)
    throw new GuestError('refused', `${JSON.stringify(wrong)} is no name of an environment variable`);
  return names.length === 0 ? [] : ['env', '--', ...names.map((name) => `${name}=${env[name] ?? ''}`)];
}

/** Escapes a text for `printf %b` within double quotes within single quotes. */
function escape(text: string): string {
  return Buffer.from(text).reduce((all, byte) => {
    const char = String.fromCharCode(byte);
    return (
      all + (/[ -~]/.test(char) && !/['\\!"$`]/.test(char) ? char : `\\0${byte.toString(8).padStart(3, '0')}`)
    );
  }, '');
}
