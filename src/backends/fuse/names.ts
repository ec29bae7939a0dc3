import { EINVAL, ENAMETOOLONG, ENOENT, ERANGE } from './errors.ts';
import type { Errno, Name } from './file-system.ts';

/** Longest name of an entry, and of an extended attribute (NAME_MAX, XATTR_NAME_MAX), in `bytes`. */
export const NAME_MAX = 255;

/** Longest target of a symbolic link in `bytes`: PATH_MAX without the NUL. */
export const TARGET_MAX = 4095;

const SLASH = 0x2f;
const DOT = 0x2e;

/** Use of a string in a request. */
export type NameKind = 'entry' | 'attribute' | 'target';

/** Checks a name. @returns 0, or the error with which the request fails */
export function checkName({ bytes }: Name, kind: NameKind): Errno {
  switch (kind) {
    case 'entry':
      return checkEntryName(bytes);
    case 'attribute':
      // as setxattr(2)
      return bytes.length === 0 || bytes.length > NAME_MAX ? ERANGE : 0;
    case 'target':
      if (bytes.length === 0) return ENOENT;
      return bytes.length > TARGET_MAX ? ENAMETOOLONG : 0;
  }
}

/** `.` and `..` are never sent by Linux: it resolves them itself. They lead out of the directory, as `/` does. */
function checkEntryName(bytes: Uint8Array): Errno {
  const { length } = bytes;
  if (length > NAME_MAX) return ENAMETOOLONG;
  const isDots = (length === 1 || (length === 2 && bytes[1] === DOT)) && bytes[0] === DOT;
  return length === 0 || isDots || bytes.includes(SLASH) ? EINVAL : 0;
}
