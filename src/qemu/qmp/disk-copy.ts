import type { BlockdevStep } from '../../devices/common/step.ts';
import { createMemfd } from '../../native/memfd.ts';
import { FDSET } from '../process/descriptors.ts';
import { QemuError } from '../process/qemu-error.ts';
import { activateNode } from './block-activation.ts';
import type { Qmp } from './connection.ts';
import { passFile } from './device-state.ts';
import { runJob, type JobQemu } from './jobs.ts';
import { QmpError } from './qmp-error.ts';

/*
 * Copy of a disk as it was at a moment, while the guest goes on writing. QEMU's nodes, from the guest's device down:
 *
 *     device or limit --> filter (copy-before-write) --> image
 *                           |  ^
 *           old blocks      v  |  snapshot-access <-- job (backup) --> target
 *                         target
 *
 * From the insertion of the filter on, QEMU saves each block in the target before the guest changes it. The job copies the others, and may
 * write a saved block again, with the same contents. Where a block cannot be saved, the copy fails and the guest's write succeeds.
 *
 * The target is a qcow2 image in both formats: its clusters of zeros take no space. For a raw copy its data is in an external file, each cluster
 * in its place, and its metadata in memory: so the external file is a sparse raw image.
 *
 * States: opened, inserted (the moment of the copy), running, removed. Invariant: a removed copy has no node, and its files are closed.
 */

/** A disk to copy. */
export interface CopiedDisk {
  /** node of its image */
  readonly image: string;
  /** size of the disk, in `bytes` */
  readonly bytes: number;
  readonly format: 'raw' | 'qcow2';
  /** node that the guest's device has */
  readonly top: string;
  /** user of the image's node: the guest's device by its id, or the filter of a limit by its properties */
  readonly user: { readonly device: string } | { readonly limit: BlockdevStep['props'] };
}

/** A copy of a disk. */
export interface DiskCopy {
  /** id of its job */
  readonly job: string;
  /** Fixes the contents of the copy. The vCPUs must be stopped. Sends all commands at once. Rejects with QmpError or QemuError. */
  readonly insert: () => Promise<void>;
  /** Copies the disk. Rejects with QemuError, or with the reason of the signal. */
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** Removes filter and target, also where the guest has ejected the disk. Rejects with QmpError if QEMU refuses that. */
  readonly remove: () => Promise<void>;
}

/** QEMU that copies disks. */
export type CopyingQemu = JobQemu & { readonly qmp: Qmp };

/** Time limit for saving a block before the guest's write, in seconds: after it the copy fails, and the write succeeds. */
const SAVE_LIMIT_S = 30;

/** Number of the next copy, and of the next set of descriptors: QEMU may have former ones still. */
let nextCopy = 1;
let nextSet = FDSET + 1;

/**
 * Opens the target of a copy, an empty file that is open for reading and writing. QEMU may wait for a state. Rejects with QemuError or
 * QmpError, and leaves no node.
 */
export async function openDiskCopy(
  qemu: CopyingQemu,
  disk: CopiedDisk,
  { fd, signal }: { readonly fd: number; readonly signal: AbortSignal },
): Promise<DiskCopy> {
  const copy: OpenCopy = { qemu, disk, name: `copy${nextCopy++}`, isInserted: false };
  try {
    await openTarget(qemu, copy.name, { disk, fd, signal });
  } catch (error) {
    await removeTarget(copy);
    throw error;
  }
  return {
    job: copy.name,
    insert: () => insertFilter(copy),
    run: (ending) => runCopy(copy, ending),
    remove: () => removeCopy(copy),
  };
}

interface OpenCopy {
  readonly qemu: CopyingQemu;
  readonly disk: CopiedDisk;
  /** name of the target's node, and prefix of the others */
  readonly name: string;
  /** the guest's writes pass the filter */
  isInserted: boolean;
}

const filterOf = ({ name }: OpenCopy): string => `${name}.filter`;
const accessOf = ({ name }: OpenCopy): string => `${name}.access`;

async function insertFilter(copy: OpenCopy): Promise<void> {
  const { qemu, disk, name } = copy;
  const { qmp } = qemu;
  const props = {
    driver: 'copy-before-write',
    'node-name': filterOf(copy),
    file: disk.image,
    target: name,
    'on-cbw-error': 'break-snapshot',
    'cbw-timeout': SAVE_LIMIT_S,
  };
  const use = async (): Promise<void> => {
    await setImage(qmp, disk, filterOf(copy));
    copy.isInserted = true;
  };
  await Promise.all([activateNode(qmp, disk.top, disk.image), qmp.execute('blockdev-add', props), use()]);
}

async function runCopy(copy: OpenCopy, signal: AbortSignal): Promise<void> {
  const { qemu, name } = copy;
  const { qmp } = qemu;
  const access = accessOf(copy);
  const start = async (): Promise<void> => {
    await qmp.execute('blockdev-add', {
      driver: 'snapshot-access',
      'node-name': access,
      file: filterOf(copy),
    });
    const props = { device: access, target: name, sync: 'full' } as const;
    await qmp.execute('blockdev-backup', { 'job-id': name, ...props, 'auto-dismiss': false });
  };
  await runJob(qemu, { id: name, start, signal });
}

async function removeCopy(copy: OpenCopy): Promise<void> {
  const { qemu, disk, name } = copy;
  const { qmp } = qemu;
  await removeNode(qmp, accessOf(copy));
  // never twice: QEMU aborts at a node that the device has already
  if (copy.isInserted) await setImage(qmp, disk, disk.image).catch(ignoreRefusal);
  copy.isInserted = false;
  await removeNode(qmp, filterOf(copy));
  await removeTarget(copy);
  await checkRemoved(qmp, name);
}

async function removeTarget({ qemu, name }: OpenCopy): Promise<void> {
  for (const node of [name, `${name}.file`, `${name}.data`]) await removeNode(qemu.qmp, node);
}

interface Target {
  readonly disk: CopiedDisk;
  readonly fd: number;
  readonly signal: AbortSignal;
}

async function openTarget(qemu: CopyingQemu, name: string, { disk, fd, signal }: Target): Promise<void> {
  const { qmp } = qemu;
  const isRaw = disk.format === 'raw';
  using metadata = isRaw ? await createMemfd('disk-metadata') : undefined;
  await openFileNode(qmp, `${name}.file`, metadata?.fd ?? fd);
  if (isRaw) await openFileNode(qmp, `${name}.data`, fd);
  const files = { file: `${name}.file`, ...(isRaw && { 'data-file': `${name}.data` }) };
  const options = { driver: 'qcow2', ...files, size: disk.bytes } as const;
  const job = `${name}.create`;
  const start = (): Promise<void> => qmp.execute('blockdev-create', { 'job-id': job, options });
  await runJob(qemu, { id: job, start, signal });
  // QEMU does not see holes below a qcow2 image with a backing file
  const zeros = { 'detect-zeroes': 'on' };
  await qmp.execute('blockdev-add', {
    driver: 'qcow2',
    'node-name': name,
    ...files,
    ...zeros,
    cache: NO_FLUSH,
  });
  await activateNode(qmp, name, name);
}

/** QEMU's main loop would wait for the disk at the removal of a node. */
const NO_FLUSH = { 'no-flush': true };

async function openFileNode(qmp: Qmp, name: string, fd: number): Promise<void> {
  await using file = await passFile(qmp, fd, nextSet++);
  const props = { driver: 'file', 'node-name': name, filename: file.name, cache: NO_FLUSH };
  await qmp.execute('blockdev-add', props);
  await activateNode(qmp, name, name);
}

/** Gives the user of an image's node another node. */
function setImage(qmp: Qmp, { user }: CopiedDisk, node: string): Promise<void> {
  if ('limit' in user) return qmp.execute('blockdev-reopen', { options: [{ ...user.limit, file: node }] });
  const path = `/machine/peripheral/${user.device}/virtio-backend`;
  return qmp.execute('qom-set', { path, property: 'drive', value: node });
}

async function removeNode(qmp: Qmp, node: string): Promise<void> {
  await qmp.execute('blockdev-del', { 'node-name': node }).catch(ignoreRefusal);
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof QmpError)) throw error;
}

async function checkRemoved(qmp: Qmp, name: string): Promise<void> {
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  const left = nodes.find(({ 'node-name': node }) => node === name);
  if (left !== undefined) throw new QemuError('QEMU still has its nodes', name);
}
