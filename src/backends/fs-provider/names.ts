import type { FsName } from './provider.ts';

/** Longest name of an entry, in `bytes`. */
const MAX_NAME_BYTES = 255;

/** Longest target of a symbolic link, in `bytes`. */
const MAX_TARGET_BYTES = 4095;

/** Returns bytes as text where they are valid UTF-8, else a copy of them. */
export function nameOf(bytes: Uint8Array): FsName {
  const copy = Buffer.from(bytes);
  const text = copy.toString('utf8');
  return Buffer.from(text, 'utf8').equals(copy) ? text : copy;
}

/** Returns the bytes of a name. */
export function bytesOf(name: FsName): Uint8Array {
  return typeof name === 'string' ? Buffer.from(name, 'utf8') : name;
}

/** Returns a text that identifies a name: different names have different texts. Valid UTF-8 stays as it is. */
export function keyOf(name: FsName): string {
  if (typeof name === 'string') return name;
  const text = nameOf(name);
  // no valid name has a NUL
  return typeof text === 'string' ? text : `\0${Buffer.from(name).toString('latin1')}`;
}

/** Returns the name of a key. */
export function nameOfKey(key: string): FsName {
  return key.startsWith('\0') ? Buffer.from(key.slice(1), 'latin1') : key;
}

/**
 * Returns the bytes of the name of an entry that a provider returned.
 * @throws TypeError where no entry can have it
 */
export function checkedName(name: FsName): Uint8Array {
  const bytes = bytesOf(name);
  const { length } = bytes;
  if (length === 0 || length > MAX_NAME_BYTES || bytes.includes(0) || bytes.includes(0x2f))
    throw new TypeError(`not a name of an entry: ${shown(name)}`);
  if (bytes[0] === 0x2e && (length === 1 || (length === 2 && bytes[1] === 0x2e)))
    throw new TypeError(`not a name of an entry: ${shown(name)}`);
  return bytes;
}

/** Returns the bytes of the target of a symbolic link. @throws TypeError where no link can have it */
export function checkedTarget(target: FsName): Uint8Array {
  const bytes = bytesOf(target);
  if (bytes.length === 0 || bytes.length > MAX_TARGET_BYTES || bytes.includes(0))
    throw new TypeError(`not a target of a symbolic link: ${shown(target)}`);
  return bytes;
}

function shown(name: FsName): string {
  return JSON.stringify(Buffer.from(bytesOf(name)).toString('latin1').slice(0, 300));
}
