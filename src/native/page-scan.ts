import { constants } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { allocate, putNumber } from './memory.ts';
import { loadLibc } from './libc.ts';
import { callError, errno } from './system-error.ts';

/** `PAGEMAP_SCAN` (linux/fs.h): `_IOWR('f', 16, struct pm_scan_arg)`. */
const PAGEMAP_SCAN = 0xc0606610;
/** Bytes of `struct pm_scan_arg`. */
const ARGUMENT_BYTES = 96;
/** Bytes of `struct page_region`. */
const REGION_BYTES = 24;
/** Regions that one call may return. */
const REGIONS = 4096;
/** Addresses that one call covers, in `bytes`: it takes a few milliseconds, during which the event loop is blocked. */
const CALL_BYTES = 8 * 2 ** 30;

/** Offsets in `struct pm_scan_arg`. */
const FIELD = {
  size: 0,
  start: 16,
  end: 24,
  vector: 40,
  vectorLength: 48,
  invertedCategories: 64,
  allOf: 72,
  anyOf: 80,
} as const;

/** Categories of pages. */
const OF_FILE = 1 << 2;
const PRESENT = 1 << 3;
const SWAPPED = 1 << 4;

/** Kernels before 6.7 lack the call; filters of system calls may refuse it. */
const { ENOTTY, EINVAL, EPERM, ENOSYS } = constants.errno;
const WITHOUT_SCAN: readonly number[] = [ENOTTY, EINVAL, EPERM, ENOSYS];

/** Addresses of a process, in `bytes`. */
export interface AddressRange {
  readonly start: number;
  /** first address behind it */
  readonly end: number;
}

/**
 * Returns the runs of private pages in a range of a process, in the order of their addresses. A private page is present or swapped
 * out, and not a page of a file or of shared memory. The kernel finds them without an entry for each page.
 *
 * @param pagemap descriptor of `/proc/<pid>/pagemap`
 * @returns undefined where the kernel lacks PAGEMAP_SCAN (Linux 6.7)
 * @throws the system's error, e.g. ESRCH where the process has ended
 */
export async function scanPrivatePages(
  pagemap: number,
  range: AddressRange,
): Promise<AddressRange[] | undefined> {
  const { ioctl } = await loadLibc();
  const vector = allocate(REGIONS * REGION_BYTES);
  try {
    const found: AddressRange[] = [];
    for (let start = range.start; start < range.end; await nextTurn()) {
      const end = Math.min(start + CALL_BYTES, range.end);
      const argument = scanArgument({ start, end }, vector.address);
      const count = ioctl(pagemap, PAGEMAP_SCAN, argument);
      if (count < 0) {
        const reason = errno();
        if (WITHOUT_SCAN.includes(reason)) return undefined;
        throw callError('ioctl PAGEMAP_SCAN', reason);
      }
      for (let i = 0; i < count; i++) found.push(regionAt(vector.view, i));
      // `walk_end` of the argument is not reliable where the vector was too short
      start = count < REGIONS ? end : (found.at(-1)?.end ?? end);
    }
    return found;
  } finally {
    vector.free();
  }
}

function scanArgument({ start, end }: AddressRange, vector: number): Buffer {
  const bytes = Buffer.alloc(ARGUMENT_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, ARGUMENT_BYTES);
  putNumber(view, FIELD.size, ARGUMENT_BYTES);
  putNumber(view, FIELD.start, start);
  putNumber(view, FIELD.end, end);
  putNumber(view, FIELD.vector, vector);
  putNumber(view, FIELD.vectorLength, REGIONS);
  putNumber(view, FIELD.invertedCategories, OF_FILE);
  putNumber(view, FIELD.allOf, OF_FILE);
  putNumber(view, FIELD.anyOf, PRESENT | SWAPPED);
  return bytes;
}

function regionAt(vector: DataView, index: number): AddressRange {
  const at = index * REGION_BYTES;
  return { start: Number(vector.getBigUint64(at, true)), end: Number(vector.getBigUint64(at + 8, true)) };
}
