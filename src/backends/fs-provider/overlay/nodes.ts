import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { FsName } from '../provider.ts';

/** A directory that the guest knows: of the lower layer, of the upper one, or of both. */
export interface OverlayDirectory {
  readonly kind: 'directory';
  /** undefined: the root */
  parent: OverlayDirectory | undefined;
  name: FsName;
  /** entries of the lower layer are visible */
  isLower: boolean;
  isUpper: boolean;
  readonly inode: bigint;
  /** known entries, by the keys of names.ts */
  readonly children: Map<string, OverlayNode>;
}

/** Anything else that the guest knows. It is in one layer. */
export interface OverlayFile {
  readonly kind: 'file';
  isUpper: boolean;
  /** number of the device and of the inode in that layer */
  identity: string;
  readonly inode: bigint;
  /** known places; more than one of a file with hard links */
  places: OverlayPlace[];
  /** the file while the guest has it open */
  open: { handle: FileHandle; isWritable: boolean } | undefined;
  /** number of opens */
  opens: number;
  /** the copy to the upper layer that is being made */
  copying: Promise<void> | undefined;
}

export interface OverlayPlace {
  readonly directory: OverlayDirectory;
  readonly name: FsName;
}

export type OverlayNode = OverlayDirectory | OverlayFile;

/** An entry of a layer. */
export interface Found {
  readonly layer: 'lower' | 'upper';
  readonly stats: BigIntStats;
  /** of a directory in the upper layer: the lower one, whose entries are visible in it */
  readonly lower?: BigIntStats;
}
