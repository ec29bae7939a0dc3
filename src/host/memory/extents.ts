import { loadLibc } from '../../native/libc.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/** A run of bytes in a file or in a region of memory, in `bytes`. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** whence of lseek(2), which Node lacks */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Calls that are made on threads of the pool before the rest is made on the main thread: files with few extents have long ones. */
const POOL_CALLS = 64;

/** Returns the extents of a sparse file that have data within a range; the rest reads as zeros. Offsets are those of the file. */
export async function dataExtents(fd: number, range: Extent): Promise<Extent[]> {
  const { lseek } = await loadLibc();
  let calls = 0;
  // the kernel looks at each page of an extent in memory: 20 ms for a GiB
  const seek = (offset: number, whence: number): number | Promise<number> =>
    calls++ < POOL_CALLS ? seekOnThread(fd, offset, whence) : lseek(fd, offset, whence);
  const end = range.offset + range.length;
  const extents: Extent[] = [];
  for (let at = range.offset; at < end;) {
    const data = await seek(at, SEEK_DATA);
    // ENXIO: no more data
    if (data < 0 || data >= end) break;
    const hole = Math.min(await seek(data, SEEK_HOLE), end);
    if (hole <= data) throw new Error('the file changed while its extents were read');
    extents.push({ offset: data, length: hole - data });
    at = hole;
  }
  return extents;
}

async function seekOnThread(fd: number, offset: number, whence: number): Promise<number> {
  const { lseek } = await loadLibc();
  return new Promise((resolve, reject) => {
    lseek.async(fd, offset, whence, (error, result) => {
      if (typeof result === 'number') resolve(result);
      else reject(error);
    });
  });
}

/** Joins runs that are at most `gap` bytes apart: one long copy is cheaper than many short ones. */
export function joinExtents(extents: readonly Extent[], gap: number): Extent[] {
  const joined: Extent[] = [];
  for (const extent of extents) {
    const last = joined.at(-1);
    if (last === undefined || extent.offset - (last.offset + last.length) > gap) joined.push(extent);
    else joined[joined.length - 1] = { ...last, length: extent.offset + extent.length - last.offset };
  }
  return joined;
}

/** Joins the runs that are nearest to each other, until at most `most` runs are left. */
export function limitExtents(extents: readonly Extent[], most: number): readonly Extent[] {
  let limited = extents;
  for (let gap = PAGE_BYTES; limited.length > most; gap *= 2) limited = joinExtents(limited, gap);
  return limited;
}
