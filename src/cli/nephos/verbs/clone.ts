import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { checkName } from '../../../run/vm-directory/names.ts';
import { Client } from '../../../sdk/client.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { findRunningVm } from '../vms.ts';
import { runInBackground } from './run.ts';
import { takeSnapshot } from './snapshot.ts';

/** Makes a clone of a running VM, with an owner process of its own. */
export async function run({ operands: [name = '', clone = ''] }: CommandLine): Promise<number> {
  checkName(clone);
  const { record, paths } = await findRunningVm(name);
  if (record.access !== 'tools') {
    throw new VerbError(
      `${record.name}: a VM of a disk image cannot be cloned`,
      `nephos snapshot ${record.name} DIR takes a snapshot without its disk`,
    );
  }
  // in the VM directory: a clone that is killed leaves nothing when the VM is removed
  const snapshot = await mkdtemp(join(paths.directory, 'clone-'));
  try {
    await takeSnapshot(new Client(paths.api), snapshot);
    const { timeoutMs: _limit, hostname: _hostname, ...request } = record.request;
    return await runInBackground({
      ...request,
      name: clone,
      snapshot,
      isDetached: true,
      isInteractive: false,
      hasTerminal: false,
      removes: false,
      ports: request.ports.map((port) => ({ ...port, hostPort: 0 })),
    });
  } finally {
    // the clone has the files open
    await rm(snapshot, { recursive: true, force: true });
  }
}
