import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiError } from '../../api/errors.ts';
import { SNAPSHOT_FILES } from '../../host/files/snapshot-folder.ts';
import { createMemfd } from '../../native/memfd.ts';
import { readDeviceState } from '../../qemu/qmp/device-state.ts';
import { restoreStates } from '../devices/states.ts';
import type { Machine } from '../machine.ts';
import { continueHotplug } from '../machine-state/continue-machine.ts';
import { activateImages } from '../machine-state/images.ts';
import type { Snapshot } from './read-snapshot.ts';
import { fillMemory, touchMemory, type MemorySource } from './restore-memory.ts';

/** A load of a snapshot. */
export interface SnapshotLoad {
  readonly snapshot: Snapshot;
  readonly memory: MemorySource;
  /** mapped RAM is loaded at once, not at its first use */
  readonly prefault: boolean;
  /** aborts the load */
  readonly signal: AbortSignal;
}

/** Loads RAM, QEMU's state and the states of all devices into a machine that waits for them. Its vCPUs stay stopped. */
export async function loadSnapshot(
  machine: Machine,
  { snapshot, memory, prefault, signal }: SnapshotLoad,
): Promise<void> {
  const { description } = snapshot.state;
  await continueHotplug(machine, description);
  await fillMemory(machine, memory, signal);
  await loadDeviceState(machine, snapshot);
  await activateImages(machine);
  await restoreStates(machine, description);
  if (prefault) await touchMemory(machine, memory, signal);
}

async function loadDeviceState({ qemu }: Machine, { folder, state }: Snapshot): Promise<void> {
  using source = await createMemfd('device-state');
  await writeFile(source.path, Buffer.from(state.deviceState, 'base64'));
  await using reading = await open(source.path, 'r');
  await readDeviceState(qemu, reading.fd).catch((error: unknown) => {
    const path = join(folder, SNAPSHOT_FILES.state);
    throw new ApiError('failed', `${path}: the state of the devices could not be loaded`, { cause: error });
  });
}
