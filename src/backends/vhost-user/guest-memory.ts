import { fstatSync } from 'node:fs';
import { mapShared, releasePages, unmap } from '../../native/memory.ts';
import { ProtocolError, type RegionMessage } from './message.ts';

/** A region of guest memory and its mapping in this process. */
interface Region extends RegionMessage {
  /** address of its first byte in this process */
  readonly address: number;
  readonly mapping: { readonly address: number; readonly bytes: number };
}

/** Most regions: more than QEMU has memory slots. */
export const MAX_REGIONS = 509;

/** Receives the parts of a buffer in this address space, in order. */
export type TakePart = (address: number, length: number) => void;

/** Guest memory as the front-end shares it. Only this class translates guest addresses into addresses of this process. */
export class GuestMemory {
  #regions: Region[] = [];

  /** Maps a region; the caller closes the descriptor. @throws ProtocolError where the region is invalid */
  add(message: RegionMessage, fd: number): void {
    if (this.#regions.length >= MAX_REGIONS) throw new ProtocolError('too many regions of memory');
    if (this.#regions.some((one) => overlap(one, message)))
      throw new ProtocolError('regions of memory overlap');
    this.#regions.push(mapRegion(message, fd));
  }

  /** Unmaps a region. @throws ProtocolError where it is not mapped */
  remove({ guestAddress, size, userAddress }: RegionMessage): void {
    const same = (one: Region): boolean =>
      one.guestAddress === guestAddress && one.size === size && one.userAddress === userAddress;
    const region = this.#regions.find(same);
    if (region === undefined) throw new ProtocolError('no such region of memory');
    this.#regions = this.#regions.filter((one) => one !== region);
    unmap(region.mapping.address, region.mapping.bytes);
  }

  clear(): void {
    for (const { mapping } of this.#regions) unmap(mapping.address, mapping.bytes);
    this.#regions = [];
  }

  /** Releases touched pages, so that they no longer count as memory of this process; their content stays. */
  releasePages(): void {
    for (const { mapping } of this.#regions) releasePages(mapping.address, mapping.bytes);
  }

  /**
   * Translates a range in the front-end's address space, in which ring addresses are.
   * @returns undefined where it is not all in one region
   */
  ofUser(userAddress: number, length: number): number | undefined {
    const region = this.#regions.find(
      (one) => userAddress >= one.userAddress && userAddress + length <= one.userAddress + one.size,
    );
    return region === undefined ? undefined : region.address + userAddress - region.userAddress;
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
      take(region.address + into, part);
      at += part;
      left -= part;
    }
    return true;
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
function mapRegion(message: RegionMessage, fd: number): Region {
  const { size, offset } = message;
  const { size: fileBytes, blksize } = fstatSync(fd);
  // an access beyond the file's end raises SIGBUS
  if (size === 0 || offset + size > fileBytes) throw new ProtocolError('region of memory beyond its file');
  const page = Math.max(4096, blksize);
  const bytes = Math.ceil((offset + size) / page) * page;
  const address = mapShared(fd, bytes);
  return { ...message, address: address + offset, mapping: { address, bytes } };
}
