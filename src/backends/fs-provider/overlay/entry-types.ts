import type { FsType } from '../provider.ts';

/** Methods that `Stats` and `Dirent` of Node have in common. */
interface Typed {
  readonly isBlockDevice: () => boolean;
  readonly isCharacterDevice: () => boolean;
  readonly isDirectory: () => boolean;
  readonly isFIFO: () => boolean;
  readonly isSocket: () => boolean;
  readonly isSymbolicLink: () => boolean;
}

/** Returns the type of a file of the host. */
export function typeOfEntry(entry: Typed): FsType {
  if (entry.isDirectory()) return 'directory';
  if (entry.isSymbolicLink()) return 'symlink';
  if (entry.isFIFO()) return 'fifo';
  if (entry.isSocket()) return 'socket';
  if (entry.isCharacterDevice()) return 'character';
  return entry.isBlockDevice() ? 'block' : 'file';
}
