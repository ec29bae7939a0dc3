import type { FsType } from '../provider.ts';

/** Where the content of an entry is, in `bytes` of the archive's file. */
export type Content =
  /** as it is */
  | { readonly kind: 'stored'; readonly offset: number }
  /** in a zip file, behind a header at `header` */
  | { readonly kind: 'zip'; readonly header: number; readonly packed: number; readonly isDeflated: boolean };

/** An entry of an archive, as its format has it. */
export interface ArchiveEntry {
  /** names that are joined by `/`, as the archive has them */
  readonly path: Uint8Array;
  readonly type: FsType | 'link';
  /** permission bits */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** nanoseconds since 1970 */
  readonly modified: bigint;
  /** `bytes` */
  readonly size: number;
  /** device number, as Linux encodes it in 32 bits */
  readonly device: number;
  readonly content?: Content;
  /** target of a symbolic link, path of a hard link; undefined where it is the content */
  readonly target?: Uint8Array;
}

/** An archive that is damaged, or of a kind that is not supported. The message has no path. */
export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
}
