import type { Amount } from '../../../host/memory/copy-extents.ts';
import { openDiskCopy, type CopyingQemu, type DiskCopy } from '../../../qemu/qmp/disk-copy.ts';
import type { NewSnapshot } from '../../../snapshot-files/snapshot-folder.ts';
import { beforeLimit } from '../../../util/abortable.ts';
import { deferred } from '../../../util/deferred.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import type { SavedImage } from '../../machine-state/description-schema.ts';
import { diskSizes } from '../../machine-state/images.ts';
import type { Machine } from '../../machine.ts';
import type { PlannedCopy } from './disk-copy-plan.ts';

const log = createLog('snapshot');

/** Copies of the disks of a machine into the folder of a snapshot. Disposal cancels those that run, and closes the files in QEMU. */
export interface DiskCopies extends AsyncDisposable {
  readonly disks: readonly Pick<PlannedCopy, 'id' | 'file'>[];
  /** progress; blocks without data count as well */
  readonly amount: Amount;
  /** Fixes the contents of the copies. The vCPUs must be stopped. Rejects with the reason. */
  readonly begin: () => Promise<void>;
  /** Starts to copy; the vCPUs may run. */
  readonly run: () => void;
  /** Settles when all copies are complete and QEMU has closed them. Rejects with the first failure, which names the disk. */
  readonly done: Promise<void>;
  /** aborted when `done` rejects, for its reason */
  readonly failed: AbortSignal;
}

/** Input of copies of disks. */
export interface CopyRequest {
  readonly planned: readonly PlannedCopy[];
  /** sizes of QEMU's nodes, in `bytes` */
  readonly sizes: ReadonlyMap<string, number>;
  readonly folder: NewSnapshot;
  readonly signal: AbortSignal;
}

/** A copy and the names of its disk and its file. */
interface NamedCopy extends DiskCopy, Pick<PlannedCopy, 'id' | 'file'> {}

/** Interval of the progress, in milliseconds. */
const INTERVAL_MS = 250;

/** Time limit for the end of cancelled copies, in milliseconds. */
const CANCEL_MS = 5000;

/** Creates the files and opens them in QEMU, which may wait for a state. Rejects with the reason; QEMU has none of them open then. */
export async function openDiskCopies(qemu: CopyingQemu, request: CopyRequest): Promise<DiskCopies> {
  const { planned } = request;
  const copies: NamedCopy[] = [];
  const removeAll = async (): Promise<void> => {
    // none twice: the removal of the last one may have failed
    for (let copy = copies.at(-1); copy !== undefined; copy = copies.at(-1)) {
      await copy.remove();
      copies.pop();
    }
  };
  try {
    for (const one of planned) copies.push(await naming(one, () => openCopy(qemu, one, request)));
  } catch (error) {
    await removeAll().catch((problem: unknown) => log.debug(`copies of disks: ${reasonOf(problem)}`));
    throw error;
  }
  const total = planned.reduce((sum, { disk }) => sum + (request.sizes.get(disk.image) ?? 0), 0);
  const amount = { done: 0, total };
  const [cancelling, failing] = [new AbortController(), new AbortController()];
  const signal = AbortSignal.any([request.signal, cancelling.signal]);
  const done = deferred<void>();
  done.promise.catch((error: unknown) => failing.abort(error));
  let runs: readonly Promise<void>[] = [];
  const complete = async (): Promise<void> => {
    using _progress = followProgress(qemu, copies, amount);
    await Promise.all(runs);
    await removeAll();
    amount.done = amount.total;
  };
  return {
    disks: planned.map(({ id, file }) => ({ id, file })),
    amount,
    begin: async () => {
      await Promise.all(copies.map((copy) => naming(copy, copy.insert)));
    },
    run: () => {
      runs = copies.map((copy) => naming(copy, () => copy.run(signal)));
      complete().then(done.resolve, done.reject);
    },
    done: done.promise,
    failed: failing.signal,
    [Symbol.asyncDispose]: async () => {
      cancelling.abort(new Error('the snapshot has ended'));
      const removed = Promise.allSettled(runs).then(removeAll);
      await beforeLimit(removed, CANCEL_MS).catch((error: unknown) => {
        log.warn(`copies of disks are still open in QEMU: ${reasonOf(error)}`);
      });
    },
  };
}

/**
 * Fixes the contents of the disks of a stopped machine, and starts to copy them. Rejects with the reason; nothing is copied then.
 * @returns undefined without a disk
 */
export async function beginDiskCopies(
  { qemu }: Pick<Machine, 'qemu'>,
  request: Omit<CopyRequest, 'sizes'>,
): Promise<DiskCopies | undefined> {
  if (request.planned.length === 0) return undefined;
  const copies = await openDiskCopies(qemu, { ...request, sizes: await diskSizes(qemu.qmp) });
  try {
    await copies.begin();
  } catch (error) {
    await copies[Symbol.asyncDispose]();
    throw error;
  }
  copies.run();
  return copies;
}

/** Returns the images of a description with the names of their copies. */
export function withCopies(images: readonly SavedImage[], copies: DiskCopies | undefined): SavedImage[] {
  const names = new Map(copies?.disks.map(({ id, file }) => [id, file]));
  return images.map((image) => ({ ...image, copy: names.get(image.id) }));
}

async function openCopy(
  qemu: CopyingQemu,
  { id, file, disk }: PlannedCopy,
  { sizes, folder, signal }: CopyRequest,
): Promise<NamedCopy> {
  const bytes = sizes.get(disk.image);
  if (bytes === undefined) throw new Error('QEMU does not have its image');
  const target = await folder.create(file);
  if (disk.format === 'raw') await target.truncate(bytes);
  const copy = await openDiskCopy(qemu, { ...disk, bytes }, { fd: target.fd, signal });
  return { ...copy, id, file };
}

/** QEMU's reason where a block was not saved before the guest changed it. */
const BROKEN = 'Permission denied';

async function naming<T>({ id, file }: Pick<PlannedCopy, 'id' | 'file'>, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const reason = reasonOf(error);
    const known = reason.includes(BROKEN) ? 'the guest’s writes were faster than its file' : reason;
    throw new Error(`disk ${id}: cannot be copied into ${file}: ${known}`, { cause: error });
  }
}

/** Updates the progress of copies until the disposal. */
function followProgress({ qmp }: CopyingQemu, copies: readonly NamedCopy[], amount: Amount): Disposable {
  const known = new Map<string, number>();
  const own = new Set(copies.map(({ job }) => job));
  const read = async (): Promise<void> => {
    const jobs = await qmp.execute('query-jobs');
    for (const { id, 'current-progress': bytes } of jobs) if (own.has(id)) known.set(id, bytes);
    const sum = [...known.values()].reduce((one, other) => one + other, 0);
    amount.done = Math.min(amount.total, Math.max(amount.done, sum));
  };
  // QEMU may end
  const timer = setInterval(() => void read().catch(() => undefined), INTERVAL_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
