import { fstatSync } from 'node:fs';
import { libc } from '../../native/libc.ts';
import {
  allocate,
  mapShared,
  putVector,
  releasePages,
  unmap,
  VECTOR_BYTES,
  type Block,
} from '../../native/memory.ts';
import { O_ACCMODE, O_RDONLY } from '../../native/open-flags.ts';
import { checked } from '../../native/system-error.ts';
import { ProtocolError, type RegionMessage } from './message.ts';
import { ProcessMemory } from './process-memory.ts';

/** A region of guest memory. */
interface Region extends RegionMessage {
  /** its mapping in this process, and the address of its first byte; undefined: the front-end has a private mapping of a file */
  readonly mapping: { readonly first: number; readonly address: number; readonly bytes: number } | undefined;
}

/** Most regions: more than QEMU has memory slots. */
export const MAX_REGIONS = 509;

/** Receives the parts of a buffer in this address space, in order. */
export type TakePart = (address: number, length: number) => void;

const F_GETFL = 3;

/**
 * Guest memory as the front-end shares it. Only this class translates guest addresses.
 *
 * Regions are mapped. The descriptor of a restored machine's RAM is a read-only one of the snapshot, of which QEMU has a private mapping:
 * where there is such a region, all memory is that of QEMU's process, and addresses are those there.
 */
export class GuestMemory {
  #regions: Region[] = [];
  #process: ProcessMemory | undefined;

  /**
   * Adds a region; the caller closes the descriptor. `owner` is the process of the front-end, whose memory may be accessed.
   * @throws ProtocolError where the region is invalid
   */
  add(message: RegionMessage, fd: number, owner?: number): void {
    if (this.#regions.length >= MAX_REGIONS) throw new ProtocolError('too many regions of memory');
    if (this.#regions.some((one) => overlap(one, message)))
      throw new ProtocolError('regions of memory overlap');
    const isPrivate = owner !== undefined && isReadOnly(fd);
    if (isPrivate) this.#process ??= new ProcessMemory(owner);
    this.#regions.push({ ...message, mapping: isPrivate ? undefined : mapRegion(message, fd) });
  }

  /** process whose memory all addresses are of; undefined: this one */
  get process(): ProcessMemory | undefined {
    return this.#process;
  }

  /** Unmaps a region. @throws ProtocolError where it is not mapped */
  remove({ guestAddress, size, userAddress }: RegionMessage): void {
    const same = (one: Region): boolean =>
      one.guestAddress === guestAddress && one.size === size && one.userAddress === userAddress;
    const region = this.#regions.find(same);
    if (region === undefined) throw new ProtocolError('no such region of memory');
    this.#regions = this.#regions.filter((one) => one !== region);
    unmapRegion(region);
    if (this.#regions.every(({ mapping }) => mapping !== undefined)) this.#forgetProcess();
  }

  clear(): void {
    for (const region of this.#regions) unmapRegion(region);
    this.#regions = [];
    this.#forgetProcess();
  }

  /** Releases touched pages, so that they no longer count as memory of this process; their content stays. */
  releasePages(): void {
    this.#process?.releasePages();
    for (const { mapping } of this.#regions)
      if (mapping !== undefined) releasePages(mapping.address, mapping.bytes);
  }

  /**
   * Translates a range in the front-end's address space, in which ring addresses are.
   * @returns undefined where it is not all in one region
   */
  ofUser(userAddress: number, length: number): number | undefined {
    const region = this.#regions.find(
      (one) => userAddress >= one.userAddress && userAddress + length <= one.userAddress + one.size,
    );
    return region === undefined ? undefined : this.#addressOf(region) + userAddress - region.userAddress;
  }

  /**
   * Translates a range in the guest's address space, into several parts where it spans regions.
   * @returns false where any of it is not memory
   */
  ofGuest(guestAddress: number, length: number, take: TakePart): boolean {
    let at = guestAddress;
    let left = length;
    while (left > 0) {
      const region = this.#find(at);
      if (region === undefined) return false;
      const into = at - region.guestAddress;
      const part = Math.min(left, region.size - into);
      take(this.#addressOf(region) + into, part);
      at += part;
      left -= part;
    }
    return true;
  }

  /** Copies a range of the guest's address space to an address of this process. @returns false where any of it is not memory */
  copyOut(to: number, guestAddress: number, length: number): boolean {
    let done = 0;
    return this.ofGuest(guestAddress, length, (address, bytes) => {
      if (this.#process === undefined) libc().memcpy(to + done, address, bytes);
      else this.#process.read(to + done, bytes, vectorOf(address, bytes));
      done += bytes;
    });
  }

  #addressOf({ mapping, userAddress }: Region): number {
    return this.#process !== undefined || mapping === undefined ? userAddress : mapping.first;
  }

  #forgetProcess(): void {
    this.#process?.[Symbol.dispose]();
    this.#process = undefined;
  }

  /** A loop over few regions, as it is called for every buffer. */
  #find(guestAddress: number): Region | undefined {
    for (const region of this.#regions) {
      const into = guestAddress - region.guestAddress;
      if (into >= 0 && into < region.size) return region;
    }
    return undefined;
  }
}

function overlap(a: RegionMessage, b: RegionMessage): boolean {
  return a.guestAddress < b.guestAddress + b.size && b.guestAddress < a.guestAddress + a.size;
}

/** Maps from the file's start, in whole pages of the file's own page size, as huge pages require. */
function mapRegion({ size, offset }: RegionMessage, fd: number): NonNullable<Region['mapping']> {
  const { size: fileBytes, blksize } = fstatSync(fd);
  // an access beyond the file's end raises SIGBUS
  if (size === 0 || offset + size > fileBytes) throw new ProtocolError('region of memory beyond its file');
  const page = Math.max(4096, blksize);
  const bytes = Math.ceil((offset + size) / page) * page;
  const address = mapShared(fd, bytes);
  return { first: address + offset, address, bytes };
}

function unmapRegion({ mapping }: Region): void {
  if (mapping !== undefined) unmap(mapping.address, mapping.bytes);
}

function isReadOnly(fd: number): boolean {
  return (checked('fcntl', libc().fcntl(fd, F_GETFL, 'int', 0)) & O_ACCMODE) === O_RDONLY;
}

/** Vector of the last range, in each thread. */
let vector: Block | undefined;

function vectorOf(address: number, bytes: number): { readonly vectors: number; readonly count: number } {
  vector ??= allocate(VECTOR_BYTES);
  putVector(vector.view, 0, address, bytes);
  return { vectors: vector.address, count: 1 };
}
