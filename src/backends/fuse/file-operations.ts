import { EBADF, EFBIG, EINVAL, EIO, ESTALE, failure } from './errors.ts';
import { DirectoryReply } from './directory-reply.ts';
import { creationOf, PERMISSION_MASK } from './entry-operations.ts';
import type { Answer, Handle, Range } from './file-system.ts';
import { FSYNC_DATA_ONLY, OPEN_KILL_PRIVILEGES, WriteFlag } from './flags.ts';
import { Opcode } from './opcodes.ts';
import { after, operation, type Operation, type Operations, type Served } from './operation.ts';
import {
  encodeCount,
  encodeCreated,
  encodeDone,
  encodeOffset,
  encodeOpened,
  encodeOpenedDirectory,
  LARGEST_COPY,
} from './reply.ts';
import type { Request } from './request.ts';
import {
  CopyFileRangeIn,
  CreateIn,
  EntryOut,
  FallocateIn,
  FsyncIn,
  LseekIn,
  LseekOut,
  OpenIn,
  OpenOut,
  ReadIn,
  ReleaseIn,
  SyncfsIn,
  WriteIn,
  WriteOut,
} from './structures.ts';

/** Flags of open(2) on x86-64 and arm64. */
const O_ACCMODE = 0o3;
const O_CREATE_FLAGS = 0o100 | 0o200; // O_CREAT, O_EXCL
const O_TRUNC = 0o1000;
const FILE_TYPE = 0o100_000;

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Returns whether an OPEN asks for more than reading. */
function opensForWriting(request: Request): boolean {
  return (request.u32(OpenIn.flags) & (O_ACCMODE | O_TRUNC)) !== 0;
}

function open({ files }: Served, request: Request) {
  const { caller, node } = request;
  const flags = (request.u32(OpenIn.flags) & ~O_CREATE_FLAGS) >>> 0;
  const kills = (request.u32(OpenIn.openFlags) & OPEN_KILL_PRIVILEGES) !== 0;
  return after(files.open(caller, node, flags), (opened) => {
    // sent with O_TRUNC: the file changes, as by a write
    if (!kills || typeof opened === 'number') return opened;
    const { handle } = opened;
    return after(files.setattr(caller, node, { handle, killsPrivileges: true }), (changed) => {
      if (typeof changed !== 'number') return opened;
      files.release(node, handle);
      return changed;
    });
  });
}

/** Fills the guest's buffers directly. */
function read({ files }: Served, request: Request, handle: Handle): Answer<number> {
  const into = request.chain.writable;
  request.limitSpace(request.u32(ReadIn.size));
  const offset = request.u64(ReadIn.offset);
  // Linux reads up to the largest size of a file
  if (offset < 0) return 0;
  return files.read({ node: request.node, handle, offset, length: request.space }, into);
}

function encodeRead(count: number, request: Request): number {
  if (count < 0) return failure(-count);
  if (!Number.isInteger(count) || count > request.space) return -EIO;
  request.isFilled = true;
  return count;
}

/** Takes the data from the guest's buffers directly. */
function write({ files }: Served, request: Request, handle: Handle): Answer<number> {
  const from = request.chain.readable;
  const length = request.u32(WriteIn.size);
  if (from.bytes !== length) return -EINVAL;
  const offset = request.u64(WriteIn.offset);
  if (offset < 0 || offset + length > Number.MAX_SAFE_INTEGER) return -EFBIG;
  const flags = request.u32(WriteIn.flags);
  const range = {
    node: request.node,
    handle,
    offset,
    length,
    isFromCache: (flags & WriteFlag.Cache) !== 0,
    killsPrivileges: (flags & WriteFlag.KillPrivileges) !== 0,
  };
  return files.write(request.caller, range, from);
}

function encodeWritten(count: number, request: Request): number {
  return count > request.u32(WriteIn.size) ? -EIO : encodeCount(count, request);
}

function readdir(plus: boolean): Operation {
  return operation<number>({
    bytes: ReadIn.bytes,
    handleAt: ReadIn.handle,
    call: ({ files, policy }, request, handle) => {
      const limit = Math.min(request.u32(ReadIn.size), request.space);
      const reply = new DirectoryReply(request, policy, { limit, plus });
      const from = { node: request.node, handle, offset: request.bigint(ReadIn.offset) };
      return after(files.readdir(request.caller, from, reply), (done) => {
        // entries that were added are references of the guest: it must get them, and gets the error with the next request
        if (reply.bytes > 0) return reply.bytes;
        if (done !== 0) return failure(done);
        return reply.isTooSmall ? -EINVAL : 0;
      });
    },
    encode: (result) => result,
  });
}

function release(close: (served: Served, node: number, handle: Handle) => void): Operation {
  return operation<number>({
    bytes: ReleaseIn.bytes,
    handleAt: ReleaseIn.handle,
    call: (served, { node }, handle) => {
      close(served, node, handle);
      return 0;
    },
    encode: encodeDone,
  });
}

function isDataOnly(request: Request): boolean {
  return (request.u32(FsyncIn.flags) & FSYNC_DATA_ONLY) !== 0;
}

function fallocate({ files }: Served, request: Request, handle: Handle): Answer<number> {
  const [offset, length] = [request.u64(FallocateIn.offset), request.u64(FallocateIn.length)];
  if (offset < 0 || length < 0 || offset + length > Number.MAX_SAFE_INTEGER) return EFBIG;
  if (length === 0) return EINVAL;
  return files.fallocate({ node: request.node, handle, offset, length }, request.u32(FallocateIn.mode));
}

function lseek({ files }: Served, request: Request, handle: Handle): Answer<number> {
  const to = { offset: request.u64(LseekIn.offset), whence: request.u32(LseekIn.whence) };
  if (to.offset < 0 || (to.whence !== SEEK_DATA && to.whence !== SEEK_HOLE)) return -EINVAL;
  return files.lseek(request.node, handle, to);
}

function copyFileRange({ files }: Served, request: Request, handle: Handle): Answer<number> {
  const wanted = request.u64(CopyFileRangeIn.length);
  const length = wanted < 0 ? LARGEST_COPY : Math.min(wanted, LARGEST_COPY);
  const from: Range = {
    node: request.node,
    handle,
    offset: request.u64(CopyFileRangeIn.fromOffset),
    length,
  };
  const to = {
    node: request.u64(CopyFileRangeIn.toNode),
    handle: request.u64(CopyFileRangeIn.toHandle),
    offset: request.u64(CopyFileRangeIn.toOffset),
  };
  if (to.node <= 0) return -ESTALE;
  if (to.handle < 0) return -EBADF;
  const fits = ({ offset }: { offset: number }): boolean =>
    offset >= 0 && offset + length <= Number.MAX_SAFE_INTEGER;
  if (!fits(from) || !fits(to)) return -EFBIG;
  return request.bigint(CopyFileRangeIn.flags) === 0n ? files.copyFileRange(from, to) : -EINVAL;
}

/** Operations on open files and directories. */
export const FILE_OPERATIONS: Operations = {
  [Opcode.Open]: operation({
    bytes: OpenIn.bytes,
    replyBytes: OpenOut.bytes,
    changes: opensForWriting,
    call: open,
    encode: encodeOpened,
  }),
  [Opcode.Create]: operation({
    bytes: CreateIn.bytes,
    names: ['entry'],
    replyBytes: EntryOut.bytes + OpenOut.bytes,
    changes: true,
    call: ({ files }, request) => {
      const mode = (request.u32(CreateIn.mode) & PERMISSION_MASK) | FILE_TYPE;
      return files.create(creationOf(request, mode), request.u32(CreateIn.flags));
    },
    encode: encodeCreated,
  }),
  [Opcode.Read]: operation({
    bytes: ReadIn.bytes,
    handleAt: ReadIn.handle,
    call: read,
    encode: encodeRead,
  }),
  [Opcode.Write]: operation({
    bytes: WriteIn.bytes,
    hasTail: true,
    handleAt: WriteIn.handle,
    replyBytes: WriteOut.bytes,
    changes: true,
    call: write,
    encode: encodeWritten,
  }),
  [Opcode.Release]: release(({ files }, node, handle) => files.release(node, handle)),
  [Opcode.Fsync]: operation({
    bytes: FsyncIn.bytes,
    handleAt: FsyncIn.handle,
    call: ({ files }, request, handle) => files.fsync(request.node, handle, isDataOnly(request)),
    encode: encodeDone,
  }),
  [Opcode.Opendir]: operation({
    bytes: OpenIn.bytes,
    replyBytes: OpenOut.bytes,
    call: ({ files }, { caller, node }) => files.opendir(caller, node),
    encode: encodeOpenedDirectory,
  }),
  [Opcode.Readdir]: readdir(false),
  [Opcode.Readdirplus]: readdir(true),
  [Opcode.Releasedir]: release(({ files }, node, handle) => files.releasedir(node, handle)),
  [Opcode.Fsyncdir]: operation({
    bytes: FsyncIn.bytes,
    handleAt: FsyncIn.handle,
    call: ({ files }, request, handle) => files.fsyncdir(request.node, handle, isDataOnly(request)),
    encode: encodeDone,
  }),
  [Opcode.Fallocate]: operation({
    bytes: FallocateIn.bytes,
    handleAt: FallocateIn.handle,
    changes: true,
    call: fallocate,
    encode: encodeDone,
  }),
  [Opcode.Lseek]: operation({
    bytes: LseekIn.bytes,
    handleAt: LseekIn.handle,
    replyBytes: LseekOut.bytes,
    call: lseek,
    encode: encodeOffset,
  }),
  [Opcode.CopyFileRange]: operation({
    bytes: CopyFileRangeIn.bytes,
    handleAt: CopyFileRangeIn.fromHandle,
    replyBytes: WriteOut.bytes,
    changes: true,
    call: copyFileRange,
    encode: encodeCount,
  }),
  [Opcode.Syncfs]: operation({
    bytes: SyncfsIn.bytes,
    call: ({ files }, { node }) => files.syncfs(node),
    encode: encodeDone,
  }),
};
