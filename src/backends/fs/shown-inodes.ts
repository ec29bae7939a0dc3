/** Bits of an inode number that a number of the file system replaces. */
const SHIFT = 48n;

/**
 * Returns a function that makes inode numbers for the guest, which sees one file system where the host may have several below the
 * directory. Those of the directory's own file system stay; those of the others get a number of their file system in the highest bits.
 */
export function shownInodes(rootDevice: number): (device: number, inode: bigint) => bigint {
  const numbers = new Map<number, bigint>();
  return (device, inode) => {
    if (device === rootDevice) return inode;
    let number = numbers.get(device);
    if (number === undefined) numbers.set(device, (number = BigInt(numbers.size + 1)));
    return BigInt.asUintN(64, inode ^ (number << SHIFT));
  };
}
