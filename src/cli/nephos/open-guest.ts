import { readFileSync } from 'node:fs';
import { connectGuest } from '../../guest/connect-guest.ts';
import type { Guest } from '../../guest/guest.ts';
import { enterCommand } from '../../run/guest-tools/enter-command.ts';
import type { VmEntry } from '../../run/vm-directory/vm-directories.ts';
import { connectVsock } from '../../sdk/vsock.ts';
import { reasonOf } from '../../util/errno.ts';
import { VerbError } from './verb.ts';

/** Port of the guest's SSH server. */
const SSH_PORT = 22;

/** User of the SSH server of the guest tools for commands that `enter` runs in the image's tree. */
const TOOLS_USER = 'nephos';

/** Opens a connection of its own to the SSH server of a guest. @throws VerbError, GuestError */
export async function openGuest({ record, paths }: VmEntry, signal?: AbortSignal): Promise<Guest> {
  const stream = await connectVsock(paths.guest, SSH_PORT).catch((error: unknown) => {
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
