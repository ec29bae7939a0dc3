import { PERMISSION_MASK } from './entry-operations.ts';
import { EBADF, EFBIG, EINVAL } from './errors.ts';
import type { AttributeChange, Timestamp } from './file-system.ts';
import { GETATTR_HANDLE, SETXATTR_KILL_GROUP, SetattrFlag } from './flags.ts';
import { Opcode } from './opcodes.ts';
import { operation, type Operation, type Operations } from './operation.ts';
import { encodeAttributesReply, encodeDone, encodeSized, encodeStatus } from './reply.ts';
import type { Request } from './request.ts';
import { AccessIn, AttrOut, GetattrIn, GetxattrIn, SetattrIn, SetxattrIn, StatfsOut } from './structures.ts';

const BILLION = 1_000_000_000;
/** `mask` of access(2) that asks for writing (W_OK) */
const WRITE_ACCESS = 2;

/** Returns the handle of GETATTR; undefined where there is none, -1 where no file can have it. */
function handleOfGetattr(request: Request): number | undefined {
  if ((request.u32(GetattrIn.flags) & GETATTR_HANDLE) === 0) return undefined;
  return request.u64(GetattrIn.handle);
}

/** Returns the changes of SETATTR, or the error where one is invalid. */
function changeOf(request: Request): AttributeChange | number {
  const valid = request.u32(SetattrIn.valid);
  const has = (flag: number): boolean => (valid & flag) !== 0;
  const [size, handle] = [request.u64(SetattrIn.size), request.u64(SetattrIn.handle)];
  if (has(SetattrFlag.Size) && size < 0) return EFBIG;
  if (has(SetattrFlag.Handle) && handle < 0) return EBADF;
  const times = timesOf(request, valid);
  if (times === 'invalid') return EINVAL;
  return {
    ...(has(SetattrFlag.Handle) && { handle }),
    ...(has(SetattrFlag.Mode) && { mode: request.u32(SetattrIn.mode) & PERMISSION_MASK }),
    ...(has(SetattrFlag.Uid) && { uid: request.u32(SetattrIn.uid) }),
    ...(has(SetattrFlag.Gid) && { gid: request.u32(SetattrIn.gid) }),
    ...(has(SetattrFlag.Size) && { size }),
    ...times,
    ...(has(SetattrFlag.KillPrivileges) && { killsPrivileges: true }),
  };
}

function timesOf(
  request: Request,
  valid: number,
): Pick<AttributeChange, 'accessed' | 'modified'> | 'invalid' {
  const accessed = timeOf(request, valid, ACCESSED);
  const modified = timeOf(request, valid, MODIFIED);
  if (accessed === 'invalid' || modified === 'invalid') return 'invalid';
  return { ...(accessed !== undefined && { accessed }), ...(modified !== undefined && { modified }) };
}

interface TimeFields {
  readonly flag: number;
  readonly nowFlag: number;
  readonly seconds: number;
  readonly nanoseconds: number;
}

const ACCESSED: TimeFields = {
  flag: SetattrFlag.Accessed,
  nowFlag: SetattrFlag.AccessedNow,
  seconds: SetattrIn.accessed,
  nanoseconds: SetattrIn.accessedNanoseconds,
};

const MODIFIED: TimeFields = {
  flag: SetattrFlag.Modified,
  nowFlag: SetattrFlag.ModifiedNow,
  seconds: SetattrIn.modified,
  nanoseconds: SetattrIn.modifiedNanoseconds,
};

function timeOf(
  request: Request,
  valid: number,
  fields: TimeFields,
): Timestamp | 'now' | 'invalid' | undefined {
  if ((valid & fields.flag) === 0) return undefined;
  if ((valid & fields.nowFlag) !== 0) return 'now';
  const time = { seconds: request.i64(fields.seconds), nanoseconds: request.u32(fields.nanoseconds) };
  return Number.isSafeInteger(time.seconds) && time.nanoseconds < BILLION ? time : 'invalid';
}

/** Makes the operation SETXATTR: its structure is longer where SETXATTR_EXT was negotiated. */
function setxattr(bytes: number): Operation {
  return operation({
    bytes,
    names: ['attribute'],
    hasTail: true,
    changes: true,
    call: ({ files }, request) => {
      const value = request.tail;
      if (value.length !== request.u32(SetxattrIn.size)) return EINVAL;
      const extendedFlags = bytes === SetxattrIn.bytes ? request.u32(SetxattrIn.extendedFlags) : 0;
      return files.setxattr(
        request.caller,
        { node: request.node, name: request.name() },
        {
          bytes: value,
          flags: request.u32(SetxattrIn.flags),
          killsPrivileges: (extendedFlags & SETXATTR_KILL_GROUP) !== 0,
        },
      );
    },
    encode: encodeDone,
  });
}

const SETXATTR = { short: setxattr(SetxattrIn.shortBytes), extended: setxattr(SetxattrIn.bytes) };

/** Operations on attributes, extended attributes and the file system. */
export const ATTRIBUTE_OPERATIONS: Operations = {
  [Opcode.Getattr]: operation({
    bytes: GetattrIn.bytes,
    replyBytes: AttrOut.bytes,
    call: ({ files }, request) => {
      const handle = handleOfGetattr(request);
      return handle === -1 ? EBADF : files.getattr(request.node, handle);
    },
    encode: encodeAttributesReply,
  }),
  [Opcode.Setattr]: operation({
    bytes: SetattrIn.bytes,
    replyBytes: AttrOut.bytes,
    changes: true,
    call: ({ files }, request) => {
      const change = changeOf(request);
      return typeof change === 'number' ? change : files.setattr(request.caller, request.node, change);
    },
    encode: encodeAttributesReply,
  }),
  [Opcode.Access]: operation({
    bytes: AccessIn.bytes,
    changes: (request) => (request.u32(AccessIn.mask) & WRITE_ACCESS) !== 0,
    call: ({ files }, request) => files.access(request.caller, request.node, request.u32(AccessIn.mask)),
    encode: encodeDone,
  }),
  [Opcode.Statfs]: operation({
    bytes: 0,
    replyBytes: StatfsOut.bytes,
    call: ({ files }, { node }) => files.statfs(node),
    encode: encodeStatus,
  }),
  [Opcode.Getxattr]: operation({
    bytes: GetxattrIn.bytes,
    names: ['attribute'],
    call: ({ files }, request) => files.getxattr({ node: request.node, name: request.name() }),
    encode: (value, request) => encodeSized(value, request, request.u32(GetxattrIn.size)),
  }),
  [Opcode.Listxattr]: operation({
    bytes: GetxattrIn.bytes,
    call: ({ files }, { node }) => files.listxattr(node),
    encode: (names, request) => encodeSized(names, request, request.u32(GetxattrIn.size)),
  }),
  [Opcode.Setxattr]: (served, request, finish) =>
    SETXATTR[served.setxattrExtended ? 'extended' : 'short'](served, request, finish),
  [Opcode.Removexattr]: operation({
    bytes: 0,
    names: ['attribute'],
    changes: true,
    call: ({ files }, request) =>
      files.removexattr(request.caller, { node: request.node, name: request.name() }),
    encode: encodeDone,
  }),
};
