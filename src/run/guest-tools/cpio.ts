/*
 * Archives of an initramfs: cpio in the format newc (Linux, Documentation/driver-api/early-userspace/buffer-format.rst). The kernel
 * unpacks several archives in a row; a later file replaces an earlier one. All files belong to root, and have no time.
 */

/** File of an archive. Its path is relative to the root. */
export type ArchiveEntry =
  | { readonly kind: 'directory'; readonly path: string; readonly mode?: number }
  | { readonly kind: 'file'; readonly path: string; readonly content: Buffer; readonly mode?: number }
  | { readonly kind: 'link'; readonly path: string; readonly target: string };

const FILE_TYPE = { directory: 0o040000, file: 0o100000, link: 0o120000 } as const;
const ALIGN = 4;
/** Largest content: the header has 8 hexadecimal digits for its size. */
const LARGEST_BYTES = 2 ** 32 - 1;

/** Makes an archive of files; directories must be before their files. @throws RangeError for a path or content that does not fit */
export function cpioArchive(entries: readonly ArchiveEntry[]): Buffer {
  const parts = entries.map((entry, index) => member(entry.path, index + 1, describe(entry)));
  return Buffer.concat([...parts, member('TRAILER!!!', 0, { mode: 0, content: Buffer.alloc(0) })]);
}

interface Described {
  readonly mode: number;
  readonly content: Buffer;
}

function describe(entry: ArchiveEntry): Described {
  switch (entry.kind) {
    case 'directory':
      return { mode: FILE_TYPE.directory | (entry.mode ?? 0o755), content: Buffer.alloc(0) };
    case 'file':
      return { mode: FILE_TYPE.file | (entry.mode ?? 0o644), content: entry.content };
    case 'link':
      return { mode: FILE_TYPE.link | 0o777, content: Buffer.from(entry.target) };
  }
}

function member(path: string, inode: number, { mode, content }: Described): Buffer {
  const name = Buffer.from(`${path}\0`);
  if (path.slice(0, -1).includes('\0') || path === '')
    throw new RangeError(`not a path: ${JSON.stringify(path)}`);
  if (content.length > LARGEST_BYTES) throw new RangeError(`${path}: larger than 4 GiB`);
  const links = mode >= FILE_TYPE.directory && mode < FILE_TYPE.file ? 2 : 1;
  // inode, mode, owner, group, links, time, size, device (two numbers), device of a node (two), size of the name, checksum
  const numbers = [inode, mode, 0, 0, links, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = `070701${numbers.map((one) => one.toString(16).padStart(8, '0')).join('')}`;
  return Buffer.concat([padded(Buffer.concat([Buffer.from(header), name])), padded(content)]);
}

function padded(bytes: Buffer): Buffer {
  const rest = bytes.length % ALIGN;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(ALIGN - rest)]);
}
