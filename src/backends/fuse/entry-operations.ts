import { ESTALE } from './errors.ts';
import type { Creation, Place } from './file-system.ts';
import { Opcode } from './opcodes.ts';
import { operation, type Operations, type Served } from './operation.ts';
import { encodeBytes, encodeDone, encodeEntryReply, encodeLookup } from './reply.ts';
import type { Request } from './request.ts';
import { EntryOut, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn } from './structures.ts';

/** Type of a symbolic link with all permissions, in `st_mode`. */
const LINK_MODE = 0o120_777;
const MODE_MASK = 0o177_777;
export const PERMISSION_MASK = 0o7777;
const DIRECTORY_TYPE = 0o040_000;

/** Returns the place that a request names, by its name of the given index. */
function placeOf(request: Request, index = 0): Place {
  return { parent: request.node, name: request.name(index) };
}

export function creationOf(request: Request, mode: number): Creation {
  return { ...placeOf(request), caller: request.caller, mode };
}

function rename({ files }: Served, request: Request, flags: number) {
  const newParent = request.u64(RenameIn.newParent);
  if (newParent <= 0) return ESTALE;
  const to = { ...placeOf(request, 1), parent: newParent };
  return files.rename(request.caller, { from: placeOf(request), to, flags });
}

/** Operations on entries of directories. */
export const ENTRY_OPERATIONS: Operations = {
  [Opcode.Lookup]: operation({
    bytes: 0,
    names: ['entry'],
    replyBytes: EntryOut.bytes,
    call: ({ files }, request) => files.lookup(request.caller, placeOf(request)),
    encode: encodeLookup,
  }),
  [Opcode.Readlink]: operation({
    bytes: 0,
    call: ({ files }, { node }) => files.readlink(node),
    encode: encodeBytes,
  }),
  [Opcode.Symlink]: operation({
    bytes: 0,
    names: ['entry', 'target'],
    replyBytes: EntryOut.bytes,
    changes: true,
    call: ({ files }, request) => files.symlink(creationOf(request, LINK_MODE), request.name(1)),
    encode: encodeEntryReply,
  }),
  [Opcode.Mknod]: operation({
    bytes: MknodIn.bytes,
    names: ['entry'],
    replyBytes: EntryOut.bytes,
    changes: true,
    call: ({ files }, request) =>
      files.mknod(creationOf(request, request.u32(MknodIn.mode) & MODE_MASK), request.u32(MknodIn.device)),
    encode: encodeEntryReply,
  }),
  [Opcode.Mkdir]: operation({
    bytes: MkdirIn.bytes,
    names: ['entry'],
    replyBytes: EntryOut.bytes,
    changes: true,
    call: ({ files }, request) => {
      const mode = (request.u32(MkdirIn.mode) & PERMISSION_MASK) | DIRECTORY_TYPE;
      return files.mkdir(creationOf(request, mode));
    },
    encode: encodeEntryReply,
  }),
  [Opcode.Unlink]: operation({
    bytes: 0,
    names: ['entry'],
    changes: true,
    call: ({ files }, request) => files.unlink(request.caller, placeOf(request)),
    encode: encodeDone,
  }),
  [Opcode.Rmdir]: operation({
    bytes: 0,
    names: ['entry'],
    changes: true,
    call: ({ files }, request) => files.rmdir(request.caller, placeOf(request)),
    encode: encodeDone,
  }),
  [Opcode.Rename]: operation({
    bytes: RenameIn.bytes,
    names: ['entry', 'entry'],
    changes: true,
    call: (served, request) => rename(served, request, 0),
    encode: encodeDone,
  }),
  [Opcode.Rename2]: operation({
    bytes: Rename2In.bytes,
    names: ['entry', 'entry'],
    changes: true,
    call: (served, request) => rename(served, request, request.u32(Rename2In.flags)),
    encode: encodeDone,
  }),
  [Opcode.Link]: operation({
    bytes: LinkIn.bytes,
    names: ['entry'],
    replyBytes: EntryOut.bytes,
    changes: true,
    call: ({ files }, request) => {
      const node = request.u64(LinkIn.node);
      return node <= 0 ? ESTALE : files.link(request.caller, node, placeOf(request));
    },
    encode: encodeEntryReply,
  }),
};
