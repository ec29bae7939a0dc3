import { putNumber } from '../../native/memory.ts';
import type { CachePolicy } from './cache-policy.ts';
import { EIO, ENOENT, ERANGE, failure } from './errors.ts';
import type { Attributes, Done, Entry, FileSystemStatus, Opened, Result } from './file-system.ts';
import { OpenReplyFlag } from './flags.ts';
import type { Request } from './request.ts';
import {
  Attr,
  AttrOut,
  EntryOut,
  GetxattrOut,
  LseekOut,
  OpenOut,
  StatfsOut,
  WriteOut,
} from './structures.ts';

/**
 * Encodes the result of a method into the request's output. @returns number of bytes, or a negative error
 */
export type Encode<T> = (result: T, request: Request, policy: CachePolicy) => number;

/** Largest part of a file that one request copies: Linux's limit for a system call (MAX_RW_COUNT). */
export const LARGEST_COPY = 0x7fff_f000;

export const encodeDone: Encode<Done> = (done) => (done === 0 ? 0 : failure(done));

export const encodeEntryReply: Encode<Result<Entry>> = (entry, request, policy) => {
  if (typeof entry === 'number') return failure(entry);
  encodeEntry(request.outputView, 0, entry, policy);
  return EntryOut.bytes;
};

/** As `encodeEntryReply`; where the guest may cache that there is no entry, that is a reply with node 0. */
export const encodeLookup: Encode<Result<Entry>> = (entry, request, policy) => {
  if (entry !== ENOENT || !policy.cachesMissing) return encodeEntryReply(entry, request, policy);
  const view = request.outputView;
  clear(request.output, EntryOut.bytes);
  putNumber(view, EntryOut.entryValid, policy.validSeconds);
  return EntryOut.bytes;
};

export const encodeAttributesReply: Encode<Result<Attributes>> = (attributes, request, policy) => {
  if (typeof attributes === 'number') return failure(attributes);
  const view = request.outputView;
  clear(request.output, AttrOut.bytes);
  putNumber(view, AttrOut.attrValid, policy.validSeconds);
  encodeAttributes(view, AttrOut.attr, attributes);
  return AttrOut.bytes;
};

export const encodeOpened: Encode<Result<Opened>> = (opened, request, policy) => {
  if (typeof opened === 'number') return failure(opened);
  putOpened(request.outputView, 0, opened, policy.openFlags);
  return OpenOut.bytes;
};

/** The policy for data does not apply to a directory. */
export const encodeOpenedDirectory: Encode<Result<Opened>> = (opened, request) => {
  if (typeof opened === 'number') return failure(opened);
  putOpened(request.outputView, 0, opened, 0);
  return OpenOut.bytes;
};

export const encodeCreated: Encode<Result<Entry & Opened>> = (created, request, policy) => {
  if (typeof created === 'number') return failure(created);
  const view = request.outputView;
  encodeEntry(view, 0, created, policy);
  putOpened(view, EntryOut.bytes, created, policy.openFlags);
  return EntryOut.bytes + OpenOut.bytes;
};

/** Encodes bytes, e.g. the target of a symbolic link. */
export function encodeBytes(bytes: Result<Uint8Array>, request: Request): number {
  if (typeof bytes === 'number') return failure(bytes);
  if (bytes.length > Math.min(request.space, request.output.length)) return -ERANGE;
  request.output.set(bytes);
  return bytes.length;
}

/** Encodes a value whose size alone is requested where `requested` is 0. */
export function encodeSized(bytes: Result<Uint8Array>, request: Request, requested: number): number {
  if (typeof bytes === 'number') return failure(bytes);
  if (requested > 0) return bytes.length > requested ? -ERANGE : encodeBytes(bytes, request);
  clear(request.output, GetxattrOut.bytes);
  request.outputView.setUint32(GetxattrOut.size, bytes.length, true);
  return GetxattrOut.bytes;
}

/** Encodes the number of bytes that were written or copied. */
export function encodeCount(count: number, request: Request): number {
  if (count < 0) return failure(-count);
  if (!Number.isInteger(count) || count > LARGEST_COPY) return -EIO;
  clear(request.output, WriteOut.bytes);
  request.outputView.setUint32(WriteOut.size, count, true);
  return WriteOut.bytes;
}

export const encodeOffset: Encode<number> = (offset, request) => {
  if (offset < 0) return failure(-offset);
  if (!Number.isSafeInteger(offset)) return -EIO;
  putNumber(request.outputView, LseekOut.offset, offset);
  return LseekOut.bytes;
};

export const encodeStatus: Encode<Result<FileSystemStatus>> = (status, request) => {
  if (typeof status === 'number') return failure(status);
  const view = request.outputView;
  clear(request.output, StatfsOut.bytes);
  putNumber(view, StatfsOut.blocks, status.blocks);
  putNumber(view, StatfsOut.blocksFree, status.blocksFree);
  putNumber(view, StatfsOut.blocksAvailable, status.blocksAvailable);
  putNumber(view, StatfsOut.files, status.files);
  putNumber(view, StatfsOut.filesFree, status.filesFree);
  view.setUint32(StatfsOut.blockSize, status.blockSize, true);
  view.setUint32(StatfsOut.nameLength, status.nameLength, true);
  view.setUint32(StatfsOut.fragmentSize, status.fragmentSize, true);
  return StatfsOut.bytes;
};

/** Encodes an entry (`struct fuse_entry_out`) at an offset of the output. */
export function encodeEntry(
  view: DataView,
  at: number,
  { node, attributes }: Entry,
  { validSeconds }: CachePolicy,
): void {
  putNumber(view, at + EntryOut.node, node);
  putNumber(view, at + EntryOut.generation, 0);
  putNumber(view, at + EntryOut.entryValid, validSeconds);
  putNumber(view, at + EntryOut.attrValid, validSeconds);
  putNumber(view, at + EntryOut.entryValidNanoseconds, 0);
  encodeAttributes(view, at + EntryOut.attr, attributes);
}

function encodeAttributes(view: DataView, at: number, attributes: Attributes): void {
  const { accessed, modified, changed } = attributes;
  view.setBigUint64(at + Attr.inode, attributes.inode, true);
  putNumber(view, at + Attr.size, attributes.size);
  putNumber(view, at + Attr.blocks, attributes.blocks);
  putNumber(view, at + Attr.accessed, accessed.seconds);
  putNumber(view, at + Attr.modified, modified.seconds);
  putNumber(view, at + Attr.changed, changed.seconds);
  view.setUint32(at + Attr.accessedNanoseconds, accessed.nanoseconds, true);
  view.setUint32(at + Attr.modifiedNanoseconds, modified.nanoseconds, true);
  view.setUint32(at + Attr.changedNanoseconds, changed.nanoseconds, true);
  view.setUint32(at + Attr.mode, attributes.mode, true);
  view.setUint32(at + Attr.links, attributes.links, true);
  view.setUint32(at + Attr.uid, attributes.uid, true);
  view.setUint32(at + Attr.gid, attributes.gid, true);
  view.setUint32(at + Attr.device, attributes.device, true);
  view.setUint32(at + Attr.blockSize, attributes.blockSize, true);
  view.setUint32(at + Attr.flags, 0, true);
}

function putOpened(view: DataView, at: number, opened: Opened, flags: number): void {
  const keeps = opened.keepsCache === true ? OpenReplyFlag.KeepCache : 0;
  const isDirect = opened.isDirect === true ? OpenReplyFlag.DirectIo : 0;
  putNumber(view, at + OpenOut.handle, opened.handle);
  putNumber(view, at + OpenOut.flags, flags | keeps | isDirect);
}

function clear(bytes: Uint8Array, count: number): void {
  bytes.fill(0, 0, count);
}
