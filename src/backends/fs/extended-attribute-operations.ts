import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import type { Done, Errno, FileSystem, Result } from '../fuse/file-system.ts';
import { killPrivileges } from './attribute-operations.ts';
import { doneOf, ENOSYS, EROFS, orError } from './errors.ts';
import { withDescriptor } from './inode-access.ts';
import { SCRATCH_BYTES, type Share } from './share.ts';

/*
 * Extended attributes. The calls go by the path of an O_PATH descriptor, as they have no form that takes one; so they act on the file
 * that the guest has looked up and on no other, symlinks included.
 */

type ExtendedAttributeOperations = Pick<FileSystem, 'getxattr' | 'listxattr' | 'setxattr' | 'removexattr'>;

/** Returns the operations on extended attributes. */
export function extendedAttributeOperations(share: Share): ExtendedAttributeOperations {
  // the kernel of the guest does not ask again
  if (share.options.xattr === false)
    return {
      getxattr: () => ENOSYS,
      listxattr: () => ENOSYS,
      setxattr: () => ENOSYS,
      removexattr: () => ENOSYS,
    };
  const { address } = share.scratch;
  return {
    getxattr: ({ node, name }) =>
      withDescriptor(share, node, (fd) =>
        bytesOf(address, libc().getxattr(share.path.of(fd), name.address, address, SCRATCH_BYTES)),
      ),
    listxattr: (node) =>
      withDescriptor(share, node, (fd) =>
        bytesOf(address, libc().listxattr(share.path.of(fd), address, SCRATCH_BYTES)),
      ),
    setxattr: (_caller, { node, name }, value) => setxattr(share, node, name.address, value),
    removexattr: (_caller, { node, name }) =>
      share.options.readonly === true
        ? EROFS
        : withDescriptor(share, node, (fd) => doneOf(libc().removexattr(share.path.of(fd), name.address))),
  };
}

function bytesOf(address: number, result: number): Result<Uint8Array> {
  const length = orError(result);
  return length < 0 ? -length : new Uint8Array(libc().bytesAt(address, length)).slice();
}

function setxattr(
  share: Share,
  node: number,
  name: number,
  { bytes, flags, killsPrivileges }: { bytes: Uint8Array; flags: number; killsPrivileges: boolean },
): Done {
  if (share.options.readonly === true) return EROFS;
  return withDescriptor(share, node, (fd): Errno => {
    using value = ownedCopy(bytes);
    const error = doneOf(libc().setxattr(share.path.of(fd), name, value.block.address, bytes.length, flags));
    return error === 0 && killsPrivileges ? killPrivileges(share, fd) : error;
  });
}

/** Copies bytes to native memory. */
function ownedCopy(bytes: Uint8Array): { readonly block: Block; readonly [Symbol.dispose]: () => void } {
  const block = allocate(bytes.length + 1);
  new Uint8Array(block.view.buffer, block.view.byteOffset, bytes.length).set(bytes);
  return { block, [Symbol.dispose]: () => block.free() };
}
