import type { Done, FileSystem, Name } from '../fuse/file-system.ts';
import { killPrivileges } from './attribute-operations.ts';
import { ENOSYS, EROFS } from './errors.ts';
import { withDescriptor } from './inode-access.ts';
import type { Share } from './share.ts';

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
  const { guestAttributes } = share;
  const isReadonly = share.options.readonly === true;
  return {
    getxattr: ({ node, name }) => withDescriptor(share, node, (fd) => guestAttributes.get(fd, name)),
    listxattr: (node) => withDescriptor(share, node, guestAttributes.list),
    setxattr: (_caller, { node, name }, value) =>
      isReadonly ? EROFS : withDescriptor(share, node, (fd) => setxattr(share, fd, name, value)),
    removexattr: (_caller, { node, name }) =>
      isReadonly ? EROFS : withDescriptor(share, node, (fd) => guestAttributes.remove(fd, name)),
  };
}

function setxattr(
  share: Share,
  fd: number,
  name: Name,
  value: { bytes: Uint8Array; flags: number; killsPrivileges: boolean },
): Done {
  const error = share.guestAttributes.set(fd, name, value);
  return error === 0 && value.killsPrivileges ? killPrivileges(share, fd) : error;
}
