import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import type { Done, Name, Result } from '../fuse/file-system.ts';
import type { DescriptorPath } from './descriptor-path.ts';
import { doneOf, ENODATA, EOPNOTSUPP, EPERM, ERANGE, orError } from './errors.ts';

/*
 * Extended attributes of the guest, as the host keeps them:
 *
 * | in the guest                     | on the host                                                                              |
 * | `user.*`                         | the same                                                                                 |
 * | `security.*`, `trusted.*`        | below a prefix: `user.virtiofs.` as an ordinary user, `trusted.virtiofs.` as root         |
 * | `security.capability`            | the same, and the host's if the guest has set none                                        |
 * | `system.*` (POSIX ACLs), others  | EOPNOTSUPP                                                                                |
 * | both prefixes                    | reserved: the guest does not see them, and EPERM refuses to set and to remove one          |
 *
 * So the host honours no file capability, label or overlay mark that a guest sets. A descriptor may be an O_PATH one.
 */

export type KeptPrefix = 'user.virtiofs.' | 'trusted.virtiofs.';

const RESERVED: readonly KeptPrefix[] = ['user.virtiofs.', 'trusted.virtiofs.'];
const PREFIXED = ['security.', 'trusted.'] as const;
const CAPABILITY = 'security.capability';

/** XATTR_NAME_MAX */
const NAME_MAX = 255;
/** XATTR_SIZE_MAX and XATTR_LIST_MAX */
const VALUE_MAX = 65_536;
const [NAME_AT, CAPABILITY_AT, VALUE_AT] = [0, 256, 512];

/** The attributes of a guest. */
export interface GuestAttributes {
  readonly get: (fd: number, name: Name) => Result<Uint8Array>;
  /** Returns names, each followed by a NUL. */
  readonly list: (fd: number) => Result<Uint8Array>;
  /** `flags` as in setxattr(2) */
  readonly set: (fd: number, name: Name, value: { bytes: Uint8Array; flags: number }) => Done;
  readonly remove: (fd: number, name: Name) => Done;
  /** Removes the capability that the guest has given to a file, as a write and a change of the owner do. */
  readonly dropCapability: (fd: number) => void;
  /** Unmaps memory; no other method may be called after it. */
  readonly free: () => void;
}

interface State {
  readonly path: DescriptorPath;
  readonly prefix: KeptPrefix;
  readonly block: Block;
  readonly bytes: Buffer;
}

/** Creates the attributes with the prefix of those that the host must not honour. */
export function createGuestAttributes(path: DescriptorPath, prefix: KeptPrefix): GuestAttributes {
  const block = allocate(VALUE_AT + VALUE_MAX);
  const bytes = Buffer.from(block.view.buffer, block.view.byteOffset, VALUE_AT + VALUE_MAX);
  const state = { path, prefix, block, bytes };
  bytes.write(`${CAPABILITY}\0`, CAPABILITY_AT);
  return {
    get: (fd, name) => get(state, fd, textOf(name)),
    list: (fd) => list(state, fd),
    set: (fd, name, { bytes: value, flags }) => {
      if (value.length > VALUE_MAX) return ERANGE;
      const address = putName(state, textOf(name));
      if (address < 0) return -address;
      bytes.set(value, VALUE_AT);
      const error = doneOf(
        libc().setxattr(path.of(fd), address, block.address + VALUE_AT, value.length, flags),
      );
      // a symlink, for example, can have none of a user
      return error === EPERM && prefix === 'user.virtiofs.' ? EOPNOTSUPP : error;
    },
    remove: (fd, name) => remove(state, fd, textOf(name)),
    dropCapability: (fd) => {
      libc().removexattr(path.of(fd), putName(state, CAPABILITY));
    },
    free: () => block.free(),
  };
}

function textOf({ bytes }: Name): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function get(state: State, fd: number, name: string): Result<Uint8Array> {
  const address = putName(state, name);
  if (address < 0) return address === -EPERM ? ENODATA : -address;
  const value = read(state, fd, address);
  return value === ENODATA && name === CAPABILITY
    ? read(state, fd, state.block.address + CAPABILITY_AT)
    : value;
}

function read({ path, block, bytes }: State, fd: number, name: number): Result<Uint8Array> {
  const length = orError(libc().getxattr(path.of(fd), name, block.address + VALUE_AT, VALUE_MAX));
  return length < 0 ? -length : Uint8Array.from(bytes.subarray(VALUE_AT, VALUE_AT + length));
}

function list({ path, prefix, block, bytes }: State, fd: number): Result<Uint8Array> {
  const length = orError(libc().listxattr(path.of(fd), block.address + VALUE_AT, VALUE_MAX));
  if (length < 0) return -length;
  const names = new Set<string>();
  for (const name of bytes.toString('latin1', VALUE_AT, VALUE_AT + length).split('\0')) {
    const shown = shownName(name, prefix);
    if (shown !== undefined) names.add(shown);
  }
  return Buffer.from([...names].map((name) => `${name}\0`).join(''), 'latin1');
}

function remove(state: State, fd: number, name: string): Done {
  const address = putName(state, name);
  if (address < 0) return -address;
  const error = doneOf(libc().removexattr(state.path.of(fd), address));
  if (name !== CAPABILITY) return error;
  const real = state.block.address + CAPABILITY_AT;
  const isReal = typeof read(state, fd, real) !== 'number';
  return isReal ? doneOf(libc().removexattr(state.path.of(fd), real)) : error;
}

/** Returns the address of an attribute's name on the host, or -errno where the guest cannot have the attribute. */
function putName({ prefix, block, bytes }: State, name: string): number {
  if (RESERVED.some((reserved) => name.startsWith(reserved))) return -EPERM;
  const isPrefixed = PREFIXED.some((namespace) => name.startsWith(namespace));
  if (!isPrefixed && !name.startsWith('user.')) return -EOPNOTSUPP;
  const hostName = isPrefixed ? prefix + name : name;
  if (hostName.length > NAME_MAX) return -ERANGE;
  bytes.write(`${hostName}\0`, NAME_AT, 'latin1');
  return block.address + NAME_AT;
}

/** Returns the name in the guest of an attribute of the host; undefined where the guest does not see it. */
function shownName(name: string, prefix: KeptPrefix): string | undefined {
  if (name === CAPABILITY) return name;
  if (name.startsWith(prefix)) {
    const rest = name.slice(prefix.length);
    return PREFIXED.some((namespace) => rest.startsWith(namespace)) ? rest : undefined;
  }
  const isReserved = RESERVED.some((reserved) => name.startsWith(reserved));
  return !isReserved && name.startsWith('user.') ? name : undefined;
}
