import { existsSync } from 'node:fs';
import type { VmEntry } from '../../run/vm-directory/vm-directories.ts';
import { ownCommand } from '../../util/own-program.ts';

/** Environment that leads `nephos connect` to the directories of VMs; a program that starts ssh later may not have it. */
const VARIABLES = ['XDG_STATE_HOME'] as const;

/** One setting of ssh_config(5): keyword and value, quoted where necessary. */
export type SshSetting = readonly [keyword: string, value: string];

/** Program that ssh starts to reach a guest. */
export interface ConnectProgram {
  /** Words that start this program */
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** Returns this program, for settings of ssh. */
export function ownProgram(): ConnectProgram {
  return { command: ownCommand(), env: process.env };
}

/**
 * Returns the settings with which ssh reaches a guest. Its host key is not checked: `nephos connect` uses a socket in a directory that only
 * this user can open, and each VM has a key of its own.
 */
export function sshSettings({ record, paths }: VmEntry, user: string, program: ConnectProgram): SshSetting[] {
  const key: SshSetting[] = existsSync(paths.key)
    ? [
        ['IdentityFile', configWord(paths.key)],
        ['IdentitiesOnly', 'yes'],
      ]
    : [];
  return [
    ['HostName', record.name],
    ['User', configWord(user)],
    ['ProxyCommand', proxyCommand(record.name, program)],
    ['UserKnownHostsFile', '/dev/null'],
    ['StrictHostKeyChecking', 'no'],
    ['LogLevel', 'ERROR'],
    ...key,
  ];
}

/** Returns the command: ssh replaces `%`, and starts it as `exec <command>` in the shell of the user. */
function proxyCommand(name: string, { command, env }: ConnectProgram): string {
  const variables = VARIABLES.flatMap((variable) => {
    const value = env[variable];
    return value === undefined || value === '' ? [] : [`${variable}=${shellWord(value)}`];
  });
  const prefix = variables.length === 0 ? [] : ['env', ...variables];
  const words = [...prefix, ...command.map(shellWord), 'connect', name];
  return words.join(' ').replaceAll('%', '%%');
}

/** Quotes a word for a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w./:=@+-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Quotes a word of ssh_config(5), in which `%` starts a token. */
function configWord(text: string): string {
  const plain = text.replaceAll('%', '%%');
  return /^[\w./:=@+%-]+$/.test(plain) ? plain : `"${plain.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}

/** Returns a `Host` block of ssh_config(5). */
export function hostBlock(name: string, settings: readonly SshSetting[]): string {
  return [`Host ${name}`, ...settings.map(([keyword, value]) => `  ${keyword} ${value}`), ''].join('\n');
}
