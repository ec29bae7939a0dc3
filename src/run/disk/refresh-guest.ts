import type { Guest } from '../../guest/guest.ts';
import { refreshIdentity } from '../../guest/identity/refresh-identity.ts';
import { createLog } from '../../util/log.ts';
import { RunError } from '../errors.ts';
import { machineIdOf, type DiskGuest } from './guest-identity.ts';
import { GUEST_DIRECTORY, SSH_FILES } from './ssh-server.ts';

/*
 * Identity of a restored guest: clock, random numbers, host name, machine id, keys, mounts. A boot has them from credentials, which the guest
 * reads again at its next boot.
 */

const log = createLog('disk');

/**
 * Gives a restored guest the identity of its VM. The connection must be one of root.
 * @throws RunError for a guest in which that is impossible
 */
export async function refreshGuest(guest: Guest, { id, hostname, volumes, keys }: DiskGuest): Promise<void> {
  const identity = { hostname, machineId: machineIdOf(id) };
  const { problem, messages } = await refreshIdentity(guest, identity, {
    read: READ_KEYS,
    apply: SCRIPT,
    words: volumes.flatMap(({ tag, path, isReadOnly }) => [tag, path, isReadOnly ? 'ro' : 'rw']),
    secrets: `${keys.authorizedKey}\n${keys.hostKey}`,
  });
  if (problem !== undefined) throw new RunError('start', `the guest cannot get a new identity: ${problem}`);
  if (messages !== '') log.warn(`refresh of the guest: ${messages}`);
}

const READ_KEYS = `IFS= read -r key
host_key=
while IFS= read -r line; do
  host_key="$host_key$line
"
  case $line in *END*) break ;; esac
done
`;

/**
 * Keys of the SSH server of Nephos, and mounts. Host keys of the image that the guest made at this boot are made again; others are those of
 * the image, as after a boot.
 */
const SCRIPT = `printf '%s\\n' "$key" >${SSH_FILES.keys}
chmod 644 ${SSH_FILES.keys}
printf '%s' "$host_key" >${SSH_FILES.hostKey}
for file in /etc/ssh/ssh_host_*_key; do
  if [ "$file" -nt ${SSH_FILES.configuration} ]; then
    rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
    ssh-keygen -A >/dev/null
    systemctl --no-block try-restart ssh.service sshd.service
    break
  fi
done
while [ $# -ge 3 ]; do
  mkdir -p -m 755 "$2"
  # a clone has mounted it
  mountpoint -q "$2" || mount -t virtiofs -o "$3" "$1" "$2" || :
  shift 3
done
`;

/** Text of a command that succeeds in a guest that a restore can give an identity: systemd has read credentials. */
export const CAN_REFRESH = `test -d /run/credentials/@system && test -f ${GUEST_DIRECTORY}/sshd_config`;
