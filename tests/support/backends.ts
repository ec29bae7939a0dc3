import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { virtiofsdCommand } from './debian.ts';
import { REPO } from './vmm.ts';

/** Process of a vhost-user back-end. */
export interface Backend {
  readonly child: ChildProcess;
  /** Settles when it has exited. */
  readonly ended: Promise<unknown>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}

/** Serves an image as vhost-user-blk by QEMU's storage daemon. */
export function startBlockBackend(
  socket: string,
  image: string,
  { writable = true, queues = 1 } = {},
): Backend {
  const blockdev = { driver: 'file', 'node-name': 'file', filename: image, 'read-only': !writable };
  const raw = { driver: 'raw', 'node-name': 'image', file: 'file', 'read-only': !writable };
  const disk = {
    type: 'vhost-user-blk',
    id: 'export',
    'node-name': 'image',
    writable,
    addr: { type: 'unix', path: socket },
    'num-queues': queues,
  };
  return start('qemu-storage-daemon', [
    ...['--blockdev', JSON.stringify(blockdev), '--blockdev', JSON.stringify(raw)],
    ...['--export', JSON.stringify(disk)],
  ]);
}

/** Serves a folder as virtio-fs. */
export function startFsBackend(socket: string, folder: string): Backend {
  const places = ['/usr/libexec/virtiofsd', '/usr/local/libexec/virtiofsd'];
  const program = places.find(existsSync);
  if (program === undefined) throw new Error(`virtiofsd was not found in ${places.join(', ')}`);
  return start(program, [`--socket-path=${socket}`, '-o', `source=${folder}`]);
}

/**
 * Serves a directory as virtio-fs by the virtiofsd that is written in Rust; `words` are further options. It has a file descriptor
 * for each inode that the guest knows, so its limit is raised: needs root.
 */
export function startVirtiofsd(socket: string, folder: string, ...words: readonly string[]): Backend {
  const options = [`--socket-path=${socket}`, `--shared-dir=${folder}`, '--log-level=error', ...words];
  const [program = '', ...rest] = virtiofsdCommand();
  return start(program, [...rest, ...options]);
}

/** Starts a back-end of a network with one host behind it, which answers pings to `address`. */
export function startNetBackend(
  how: 'listen' | 'serve' | 'connect',
  socket: string,
  { address, queues }: { readonly address: string; readonly queues: number },
): Backend & { readonly output: () => string } {
  return startOwn('vhost-user-net', [how, socket, address, String(queues)]);
}

/**
 * Starts a proxy before the back-end at `behind` that refuses what rust-vmm's `vhost` refuses; its output has a line `refused: ...` for
 * that, and `features ...` for each acknowledgement of features. A front-end connects to it, or it connects to a front-end.
 */
export function startStrictProxy(
  how: 'listen' | 'connect',
  socket: string,
  behind: string,
): Backend & { readonly output: () => string } {
  return startOwn('vhost-user-proxy', [how, socket, behind]);
}

/** Starts a program of tests/support and collects its output. */
function startOwn(name: string, words: readonly string[]): Backend & { readonly output: () => string } {
  const program = join(REPO, `build/tests/support/${name}.js`);
  const backend = start(process.execPath, [program, ...words], 'pipe');
  let output = '';
  backend.child.stdout?.on('data', (bytes: Buffer) => (output += bytes.toString('utf8')));
  return { ...backend, output: () => output };
}

function start(program: string, args: readonly string[], stdout: 'inherit' | 'pipe' = 'inherit'): Backend {
  const child = spawn(program, args, { stdio: ['ignore', stdout, 'inherit'] });
  const ended = new Promise((resolve) => {
    child.once('error', resolve);
    child.once('close', resolve);
  });
  return {
    child,
    ended,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
