import { readdir, readlink, open, readFile, stat, type FileHandle } from 'node:fs/promises';

/*
 * Memory of guests on the host: the backing of RAM zones, and the mapped memory of a QEMU process, which snapshots read and write.
 *
 * Invariants: RAM is read only while the guest is paused. A file of a user is used as RAM only where it exists with enough bytes.
 * Copies are sparse: pages that were never written, or are all zeros, stay holes.
 */

/** A part of a process's address space (proc(5), maps). */
export interface Mapping {
  readonly start: number;
  readonly end: number;
  /** writes to it are visible to other processes */
  readonly shared: boolean;
  /** start of the mapping in the file, in `bytes` */
  readonly offset: number;
  /** `major:minor` in hexadecimal and inode; inode 0: no file */
  readonly device: string;
  readonly inode: number;
}

/** Returns the mapping of an address of a process. @throws where there is none */
export async function mappingAt(pid: number, address: number): Promise<Mapping> {
  const maps = await readFile(`/proc/${pid}/maps`, 'latin1');
  for (const line of maps.split('\n')) {
    const mapping = parseMapping(line);
    if (mapping !== undefined && mapping.start <= address && address < mapping.end) return mapping;
  }
  throw new Error(`process ${pid} has no memory at 0x${address.toString(16)}`);
}

/** A file by its identity (fstat). */
export interface FileIdentity {
  readonly dev: number;
  readonly ino: number;
}

/** Returns the private mappings of a file in a process, in the order of their addresses; adjacent ones that continue each other are one. */
export async function privateMappings(pid: number, { dev, ino }: FileIdentity): Promise<Mapping[]> {
  const device = deviceText(dev);
  const found: Mapping[] = [];
  for (const line of (await readFile(`/proc/${pid}/maps`, 'latin1')).split('\n')) {
    const one = parseMapping(line);
    if (one === undefined || one.shared || one.inode !== ino || one.device !== device) continue;
    const last = found.at(-1);
    const continues = last?.end === one.start && last.offset + (last.end - last.start) === one.offset;
    if (continues) found.splice(-1, 1, { ...last, end: one.end });
    else found.push(one);
  }
  return found;
}

function parseMapping(line: string): Mapping | undefined {
  const match = /^([0-9a-f]+)-([0-9a-f]+) ...([ps]) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)/.exec(line);
  if (match === null) return undefined;
  const [, start = '', end = '', kind, offset = '', device = '', inode] = match;
  return {
    start: Number.parseInt(start, 16),
    end: Number.parseInt(end, 16),
    shared: kind === 's',
    offset: Number.parseInt(offset, 16),
    device,
    inode: Number(inode),
  };
}

/**
 * Opens the file behind a mapping by one of the process's own descriptors, so that a file without a name is found as well.
 * @throws where the process does not hold it open
 */
export async function openMapped(pid: number, mapping: Mapping, flags: 'r' | 'r+'): Promise<FileHandle> {
  const [fd] = await descriptorsOf(pid, mapping);
  if (fd === undefined) throw new Error(`process ${pid} does not hold the file behind its memory open`);
  return open(`/proc/${pid}/fd/${fd}`, flags);
}

/** Returns the numbers of a process's descriptors of the file behind a mapping. */
export async function descriptorsOf(pid: number, { inode, device }: Mapping): Promise<number[]> {
  const fds = await readdir(`/proc/${pid}/fd`);
  // a descriptor may be closed meanwhile
  const files = await Promise.all(fds.map((fd) => stat(`/proc/${pid}/fd/${fd}`).catch(() => undefined)));
  return fds.map(Number).filter((_, i) => {
    const file = files[i];
    return file?.ino === inode && deviceText(file.dev) === device;
  });
}

/** Returns whether a path names the regular file that a mapping is of. */
export async function isFileOf({ inode, device }: Mapping, path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true && found.ino === inode && deviceText(found.dev) === device;
}

/** Returns true for a file of memfd_create(2). */
export async function isInMemory({ fd }: Pick<FileHandle, 'fd'>): Promise<boolean> {
  return (await readlink(`/proc/self/fd/${fd}`)).startsWith('/memfd:');
}

/** Formats st_dev as in maps: Linux encodes 12 bits of major and 20 of minor. */
function deviceText(dev: number): string {
  const major = (dev >> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  const hex = (part: number): string => part.toString(16).padStart(2, '0');
  return `${hex(major)}:${hex(minor)}`;
}

/** Opens the memory of a process; positions are its own addresses. */
export function openMemory(pid: number, flags: 'r' | 'r+'): Promise<FileHandle> {
  return open(`/proc/${pid}/mem`, flags);
}
