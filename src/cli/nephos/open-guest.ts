import { readFileSync } from 'node:fs';
import { connectGuest } from '../../guest/connect-guest.ts';
import type { Guest } from '../../guest/guest.ts';
import { enterCommand } from '../../run/guest-tools/enter-command.ts';
import type { VmEntry } from '../../run/vm-directory/vm-directories.ts';
import { stateOfVm } from '../../run/vm-directory/vm-state.ts';
import { connectVsock } from '../../sdk/vsock.ts';
import { reasonOf } from '../../util/errno.ts';
import { VerbError } from './verb.ts';

/** Port of the guest's SSH server. */
const SSH_PORT = 22;

/** User of the SSH server of the guest tools for commands that `enter` runs in the image's tree. */
const TOOLS_USER = 'nephos';

/** Time limit until the SSH server of a guest answers, in milliseconds. */
const OPEN_MS = 60_000;

/** Opens a connection of its own to the SSH server of a guest. @throws VerbError, GuestError */
export async function openGuest(entry: VmEntry, signal?: AbortSignal): Promise<Guest> {
  const { record, paths } = entry;
  const state = await stateOfVm(entry);
  if (state === 'stand-by') {
    throw new VerbError(
      `the VM ${record.name} is a stand-by VM of a pool: it accepts commands when a run has taken it`,
      'nephos run takes it where its image and shape are the same; nephos pool ls lists pools',
    );
  }
  if (state === 'paused')
    throw new VerbError(`the VM ${record.name} is paused`, `nephos resume ${record.name} continues it`);
  const limits = { timeoutMs: OPEN_MS, ...(signal !== undefined && { signal }) };
  const stream = await connectVsock(paths.guest, SSH_PORT, limits).catch((error: unknown) => {
    throw new VerbError(
      `the VM ${record.name} accepts no connection: ${reasonOf(error)}`,
      'it may still boot; nephos logs --serial shows its messages',
      { cause: error },
    );
  });
  const access =
    record.access === 'tools'
      ? { user: TOOLS_USER, render: enterCommand }
      : { user: 'root', privateKey: readFileSync(paths.key, 'utf8') };
  return connectGuest({ stream, ...access, ...(signal !== undefined && { signal }) });
}
