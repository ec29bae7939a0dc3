import { chownSync, closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadLibc } from '../../native/libc.ts';
import { probeSocket } from '../../native/socket-probe.ts';
import { connectTo, SOCKET_PATH_MAX } from '../../native/unix-socket.ts';

/** A socket on which QEMU listens for the VMM alone, as its peer gets the guest's RAM. */
export interface FrontEndSocket extends Disposable {
  /** path at which QEMU must listen, in a folder that only its user can enter */
  readonly path: string;
  /** Connects to QEMU. @returns a non-blocking descriptor, or the negative errno */
  readonly connect: () => number;
  /** Returns whether QEMU holds the socket. */
  readonly isHeld: () => boolean;
  /** Removes file and folder, once QEMU holds the socket; `connect` still works. */
  readonly hide: () => void;
}

/** A user that QEMU runs as. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Creates the folder, for QEMU of `owner` where that is not the VMM's user. Rejects with the system's error. */
export async function makeFrontEndSocket(owner: Owner | undefined): Promise<FrontEndSocket> {
  await loadLibc();
  const folder = mkdtempSync(join(shortFolder(), PREFIX));
  const path = join(folder, FILE);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    if (owner !== undefined) chownSync(folder, owner.uid, owner.gid);
  } catch (error) {
    remove();
    throw error;
  }
  let hidden: number | undefined;
  const reachable = (): string => (hidden === undefined ? path : `/proc/self/fd/${hidden}`);
  return {
    path,
    connect: () => connectTo(reachable()),
    hide: () => {
      hidden ??= nameFile(path);
      remove();
    },
    isHeld: () => probeSocket(reachable()) === undefined,
    [Symbol.dispose]: () => {
      remove();
      if (hidden !== undefined) closeSync(hidden);
      hidden = undefined;
    },
  };
}

const [PREFIX, FILE] = ['nephos-vhost-', 'front-end'];
/** Bytes that follow the folder in the socket's path; mkdtemp adds six random ones. */
const REST_BYTES = `/${PREFIX}XXXXXX/${FILE}`.length;

/** Returns the folder for temporary files, or /tmp where the path of a socket in it is too long for an address. */
function shortFolder(): string {
  const folder = tmpdir();
  return Buffer.byteLength(folder) + REST_BYTES <= SOCKET_PATH_MAX ? folder : '/tmp';
}

/** linux/fcntl.h: names a file without opening it */
const O_PATH = 0o10_000_000;

/** @returns a descriptor that names a file; undefined where there is none: QEMU has ended */
function nameFile(path: string): number | undefined {
  try {
    return openSync(path, O_PATH);
  } catch {
    return undefined;
  }
}
