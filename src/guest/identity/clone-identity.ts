import { randomBytes } from 'node:crypto';
import type { Guest } from '../guest.ts';
import { GuestError } from '../errors.ts';
import { refreshIdentity } from './refresh-identity.ts';

/** Longest host name of Linux, in bytes (HOST_NAME_MAX). */
const HOSTNAME_BYTES = 64;

/** Random digits of a clone's host name. */
const SUFFIX_BYTES = 4;

/**
 * Gives the guest of a clone an identity of its own: clock, random numbers, host name, machine-id and SSH host keys. The host name is that of
 * the VM with a random end unless it is given. The connection must be one of root.
 * @throws GuestError with the reason why that is impossible
 */
export async function makeCloneIdentity(guest: Guest, hostname?: string): Promise<void> {
  const { problem } = await refreshIdentity(
    guest,
    { hostname: hostname ?? (await nextHostname(guest)), machineId: randomBytes(16).toString('hex') },
    { apply: SCRIPT },
  );
  if (problem !== undefined)
    throw new GuestError('refused', `the clone cannot get an identity of its own: ${problem}`);
}

async function nextHostname(guest: Guest): Promise<string> {
  const { stdout } = await guest.exec(['cat', '/proc/sys/kernel/hostname']);
  return cloneHostname(stdout.trim(), randomBytes(SUFFIX_BYTES).toString('hex'));
}

/** Returns the host name of a clone: the name before, which may be that of a clone, with another end. */
export function cloneHostname(name: string, suffix: string): string {
  const base = name.replace(/-[\da-f]{8}$/, '');
  const short = base === '' || base === '(none)' ? 'clone' : base;
  return `${short.slice(0, HOSTNAME_BYTES - suffix.length - 1)}-${suffix}`;
}

/**
 * SSH servers read their host keys at their start, or for each connection: a service is restarted, which leaves its connections alone. A server
 * without a service gets SIGHUP (sshd(8)). Keys are replaced only where the guest has the program that makes new ones.
 */
const SCRIPT = `if [ -f /etc/hostname ]; then printf '%s\\n' "$hostname" >/etc/hostname; fi
if [ -f /etc/hosts ]; then printf '127.0.1.1\\t%s\\n' "$hostname" >>/etc/hosts; fi
if [ -f /var/lib/systemd/random-seed ]; then
  dd if=/dev/urandom of=/var/lib/systemd/random-seed bs=512 count=1 2>/dev/null
fi
restart() {
  if command -v systemctl >/dev/null; then systemctl --no-block try-restart "$@" || :; fi
}
has_new=
for file in /etc/ssh/ssh_host_*_key; do
  if [ -f "$file" ] && command -v ssh-keygen >/dev/null; then
    type=\${file#/etc/ssh/ssh_host_}
    rm -f "$file" "$file.pub"
    ssh-keygen -q -t "\${type%_key}" -N '' -f "$file" </dev/null >/dev/null
    has_new=1
  fi
done
if [ -n "$has_new" ]; then
  restart ssh.service sshd.service
  if [ ! -d /run/systemd/system ] && [ -f /run/sshd.pid ]; then kill -HUP "$(cat /run/sshd.pid)" || :; fi
fi
for file in /etc/dropbear/dropbear_*_host_key; do
  if [ -f "$file" ] && command -v dropbearkey >/dev/null; then
    type=\${file#/etc/dropbear/dropbear_}
    rm -f "$file"
    dropbearkey -t "\${type%_host_key}" -f "$file" >/dev/null 2>&1
    restart dropbear.service
  fi
done
`;
