import { randomBytes } from 'node:crypto';
import type { Guest } from '../guest.ts';
import { compileHelper } from '../helper/main.ts';

/*
 * Identity of a restored guest that has an operating system of its own: clock, random numbers, host name, machine id, and what the caller adds.
 *
 *   refresh-identity.ts   runs the script that changes them, in one command over SSH
 *   clone-identity.ts     the script for clones of any guest (SDK); src/run/disk/refresh-guest.ts has that of disk images
 *
 * Random numbers need a system call (`ioctl`) that no program of every image has: `enter` of the guest tools is copied to a tmpfs, run and removed.
 *
 * Invariants: secrets pass by the standard input, which no other user of the guest sees. The program does not stay in the guest.
 */

/** Folders for the program: one may forbid to execute files. */
const FOLDERS = ['/dev/shm', '/run', '/tmp', '/var/tmp', '/root'];

/** Exit code of a shell for a program that cannot be executed. */
const NOT_EXECUTABLE = 126;

/** Time limit of the refresh, in milliseconds: 0.3 s on a quiet host. */
const REFRESH_MS = 60_000;

/** New identity of a guest. */
export interface GuestIdentity {
  readonly hostname: string;
  /** machine-id(5): 32 hexadecimal digits */
  readonly machineId: string;
}

/** Parts of a script, in the language of POSIX sh. Its arguments are $1, $2 and so on. */
export interface RefreshScript {
  /** Reads lines of the standard input into variables */
  readonly read?: string;
  /** Changes further parts of the identity, when `$hostname`, `$id` and `$old`, the machine id before, are set */
  readonly apply: string;
  /** Arguments of the script */
  readonly words?: readonly string[];
  /** Standard input of `read`: complete lines */
  readonly secrets?: string;
}

/** Result of {@link refreshIdentity}: why the guest has no new identity, or what the script reported. */
export interface RefreshResult {
  readonly problem?: string;
  /** Messages of programs of the guest; empty as a rule */
  readonly messages: string;
}

/**
 * Gives a restored guest a new identity. The connection must be one of root.
 * @throws GuestError for a connection that is lost, or a guest that does not answer
 */
export async function refreshIdentity(
  guest: Guest,
  identity: GuestIdentity,
  script: RefreshScript,
): Promise<RefreshResult> {
  const text = scriptOf(script);
  for (const folder of FOLDERS) {
    const { exitCode, stderr } = await guest.exec(
      ['/bin/sh', '-c', text, 'sh', ...refreshWords(identity, folder), ...(script.words ?? [])],
      { input: refreshInput(script.secrets ?? ''), timeoutMs: REFRESH_MS },
    );
    const messages = stderr.trim();
    if (exitCode === 0) return { messages };
    if (exitCode !== NOT_EXECUTABLE) return { problem: messages || `exit code ${exitCode}`, messages };
  }
  return { problem: 'the guest has no folder for a program', messages: '' };
}

/** Returns the first arguments of the script. */
export function refreshWords({ hostname, machineId }: GuestIdentity, folder: string): string[] {
  const now = Date.now();
  const seconds = Math.floor(now / 1000);
  return [
    `${folder}/nephos-${randomBytes(16).toString('hex')}`,
    ...[`${seconds}`, `${(now - seconds * 1000) * 1_000_000}`],
    ...[hostname, machineId],
  ];
}

let program: Buffer | undefined;

/** Returns the standard input of the script: random numbers, the caller's lines, and the program. */
function refreshInput(secrets: string): Buffer {
  program ??= compileHelper();
  return Buffer.concat([Buffer.from(`${randomBytes(64).toString('hex')}\n${secrets}`), program]);
}

/** The journal of the snapshot's machine id becomes that of the new one: else journalctl(1) shows nothing of the boot. */
function scriptOf({ read = '', apply }: RefreshScript): string {
  return `set -eu
umask 077
program=$1 seconds=$2 nanoseconds=$3 hostname=$4 id=$5
shift 5
IFS= read -r entropy
${read}set -C
cat >"$program"
set +C
chmod 700 "$program"
code=0
"$program" entropy "$entropy" clock "$seconds" "$nanoseconds" hostname "$hostname" || code=$?
rm -f "$program"
[ $code = 0 ] || exit $code
old=
if [ -f /etc/machine-id ]; then
  IFS= read -r old </etc/machine-id || :
  printf '%s\\n' "$id" >/etc/machine-id
fi
for file in /run/machine-id /var/lib/dbus/machine-id; do
  if [ -f $file ] && [ ! -L $file ]; then printf '%s\\n' "$id" >$file; fi
done
if [ -n "$old" ]; then
  for journal in /run/log/journal /var/log/journal; do
    if [ -d "$journal/$old" ]; then mv "$journal/$old" "$journal/$id"; fi
  done
  if command -v systemctl >/dev/null; then systemctl --no-block try-restart systemd-journald.service; fi
fi
${apply}`;
}
