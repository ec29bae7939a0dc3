/** A guest whose RAM, disk, network and consoles are in use while live snapshots of it are taken. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { boot } from '../boot.ts';
import { debianRoot } from '../debian.ts';
import { interfaceName } from '../host-network.ts';
import { createImage, makeImage } from '../images.ts';
import type { Shell } from '../shell.ts';
import { openShellOnSocket } from '../shell.ts';
import type { TestVmm } from '../vmm.ts';
import { until } from '../wait.ts';
import { startEcho, type EchoStream } from './echo-stream.ts';
import { DATABASE_CHECK, PROGRAMS } from './programs.ts';

const MIB = 2 ** 20;
const ECHO_PORT = 7778;

/** A guest with an ext4 disk at /d, a TAP, a shell on its serial port and a virtio console. */
export interface LiveGuest {
  readonly vmm: TestVmm;
  readonly shell: Shell;
  /** path of the disk's image */
  readonly disk: string;
  /** path of the image of a second disk at /e: qcow2 with a backing file and a limit */
  readonly second: string | undefined;
  /** name of the TAP */
  readonly tap: string;
  /** first three bytes of the addresses of the host, which has 1, and of the guest, which has 2 */
  readonly network: string;
}

interface LiveGuestOptions {
  /** the disk holds sqlite3 of Debian 13, which scripts/guest/debian.sh installs */
  readonly database?: boolean;
  /** RAM in `bytes`; default: 256 MiB */
  readonly memory?: number;
  /** a second disk, on which the file of the writers is */
  readonly second?: boolean;
  /** further members of the first disk, e.g. `num_queues` */
  readonly data?: Readonly<Record<string, unknown>>;
  /** further members of the configuration, e.g. `cpus` */
  readonly more?: Readonly<Record<string, unknown>>;
}

/** Id of the second disk. */
export const SECOND = 'zweite Platte/ü';

/** Boots the guest and mounts its disk. */
export async function bootLiveGuest(
  vmm: TestVmm,
  {
    database = false,
    memory = 256 * MIB,
    second: hasSecond = false,
    data = {},
    more = {},
  }: LiveGuestOptions = {},
): Promise<LiveGuest> {
  const [disk, tap] = [makeDisk(vmm.folder, database), interfaceName()];
  // two tests at the same time would have the same routes
  const network = `10.${randomInt(100, 200)}.${randomInt(256)}`;
  const second = hasSecond ? makeSecondDisk(vmm.folder) : undefined;
  const config = {
    memory: { size: memory },
    disks: [
      { path: disk, image_type: 'Raw', id: 'data', ...data },
      ...(second === undefined ? [] : [{ ...LIMITED, path: second, id: SECOND }]),
    ],
    net: [{ tap, ip: `${network}.1`, mask: '255.255.255.0', id: 'net' }],
    console: { mode: 'Socket', socket: consoleIn(vmm) },
    ...more,
  };
  const shell = await boot(vmm, config, { tools: true });
  await shell.run('mkdir /d; mount /dev/vda /d');
  if (hasSecond) await shell.run('mkdir /e; mount /dev/vdb /e');
  await shell.run(`ip addr add ${network}.2/24 dev eth0; ip link set eth0 up`);
  return { vmm, shell, disk, second, tap, network };
}

const consoleIn = ({ folder }: TestVmm): string => join(folder, 'hvc0.sock');

/** Makes an ext4 file system with the programs. @returns the path of the image */
function makeDisk(folder: string, database: boolean): string {
  const root = join(folder, 'root');
  mkdirSync(root);
  for (const [name, text] of Object.entries(PROGRAMS)) writeFileSync(join(root, name), text);
  if (database) copyDatabase(join(root, 'sqlite'));
  const image = makeImage(join(folder, 'data.raw'), 256 * MIB);
  execFileSync('mkfs.ext4', ['-q', '-F', '-d', root, image], { stdio: 'pipe' });
  return image;
}

/** A limit that the writers do not reach. */
const LIMITED = {
  image_type: 'Qcow2',
  rate_limiter_config: { ops: { size: 100_000, refill_time: 1000 } },
};

/** Makes an ext4 file system in a qcow2 image with a raw backing file. @returns the path of the image */
function makeSecondDisk(folder: string): string {
  const below = makeImage(join(folder, 'below.raw'), 64 * MIB);
  execFileSync('mkfs.ext4', ['-q', '-F', below], { stdio: 'pipe' });
  return createImage(join(folder, 'second.qcow2'), '64M', ['-f', 'qcow2', '-b', 'below.raw', '-F', 'raw']);
}

/** Copies sqlite3, its libraries and their loader into one folder. */
function copyDatabase(target: string): void {
  const root = debianRoot();
  mkdirSync(target);
  const loader = join(root, 'lib64/ld-linux-x86-64.so.2');
  const libraries = join(root, 'usr/lib/x86_64-linux-gnu');
  const program = join(root, 'usr/bin/sqlite3');
  const listed = execFileSync(loader, ['--library-path', libraries, '--list', program], { encoding: 'utf8' });
  for (const [, name = '', path = ''] of listed.matchAll(/^\s*([^\s/]+) => (\S+)/gm)) {
    copyFileSync(path, join(target, name));
  }
  copyFileSync(program, join(target, 'sqlite3'));
  copyFileSync(loader, join(target, 'loader'));
}

const SQLITE = '/d/sqlite/loader --library-path /d/sqlite /d/sqlite/sqlite3 -batch';

/** Programs that write all the time. */
export type Writer = 'memory' | 'file' | 'database';

/** Starts programs in the guest. Those of the disk are in the background of the shell. */
export async function startWriters({ shell, second }: LiveGuest, writers: readonly Writer[]): Promise<void> {
  const commands: Readonly<Record<Writer, string>> = {
    memory: 'perl /d/memory.pl',
    file: `perl /d/file.pl ${second === undefined ? '/d' : '/e'}/blocks`,
    database: `perl /d/transactions.pl | ${SQLITE} /d/w.db >/run/database.bad 2>&1`,
  };
  for (const writer of writers) await shell.run(`(${commands[writer]}) </dev/null >/dev/null 2>&1 & true`);
  await writersProgress(shell, writers);
}

/** Waits until each program has made progress. Fails where a program found a block of another moment. */
export async function writersProgress(shell: Shell, writers: readonly Writer[]): Promise<void> {
  for (const writer of writers) {
    if (writer === 'database') {
      const size = 'stat -c %Y-%s /d/w.db-wal 2>/dev/null';
      await shell.run(`a=$(${size}); until [ "$(${size})" != "$a" ]; do sleep 0.1; done`);
      continue;
    }
    const pass = `cat /run/${writer}.pass 2>/dev/null`;
    const end = `[ "$(${pass})" != "$a" ] || [ -s /run/${writer}.bad ]`;
    await shell.run(`a=$(${pass}); until ${end}; do sleep 0.1; done`);
  }
  assert.equal(await shell.run('cat /run/*.bad 2>/dev/null | grep -v "^wal$"'), '');
}

/** Ends the programs, reads the disk without caches, and unmounts it. The database must be whole. */
export async function endWriters(
  { shell }: Pick<LiveGuest, 'shell'>,
  writers: readonly Writer[],
): Promise<void> {
  await shell.run('killall -q -9 perl loader; sync; echo 3 >/proc/sys/vm/drop_caches');
  if (writers.includes('database')) {
    assert.equal(await shell.run(`echo '${DATABASE_CHECK}' | ${SQLITE} /d/w.db`), 'ok\n1');
  }
  for (const path of ['/d', '/e']) {
    await shell.run(
      `while grep -q " ${path} " /proc/mounts; do umount ${path} 2>/dev/null || sleep 0.1; done`,
    );
  }
}

/** Fails where e2fsck finds an error in the ext4 file system of an unmounted image. */
export function assertCleanDisk(image: string): void {
  const raw = image.endsWith('.qcow2') ? `${image}.raw` : image;
  if (raw !== image) execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', image, raw]);
  execFileSync('e2fsck', ['-f', '-n', raw], { stdio: 'pipe' });
}

/** Runs `act` while the guest's file system does not change: its image can be copied as it is at the snapshot. */
export async function whileFrozen<T>(shell: Shell, act: () => Promise<T>): Promise<T> {
  await shell.run('fsfreeze -f /d');
  try {
    return await act();
  } finally {
    await shell.run('fsfreeze -u /d');
  }
}

/** Starts an echo on a TCP connection through the TAP. */
export async function startTcpEcho({ shell, network }: LiveGuest): Promise<EchoStream> {
  await shell.run(`socat TCP-LISTEN:${ECHO_PORT},fork,reuseaddr EXEC:cat </dev/null >/dev/null 2>&1 & true`);
  const stream = await connected(`${network}.2`, ECHO_PORT);
  return startEcho(stream.setNoDelay(true), { name: 'TCP' });
}

async function connected(host: string, port: number): Promise<Socket> {
  let stream: Socket | undefined;
  await until('the guest accepts a connection', async () => {
    const one = connect(port, host);
    try {
      await once(one, 'connect', { signal: AbortSignal.timeout(2000) });
    } catch (error) {
      one.destroy();
      throw error;
    }
    stream = one;
    return true;
  });
  assert.ok(stream !== undefined);
  return stream;
}

/** Starts an echo on the virtio console. */
export async function startConsoleEcho({ vmm }: LiveGuest): Promise<EchoStream> {
  const console = openShellOnSocket(consoleIn(vmm));
  console.type('\r');
  await console.login();
  console.type('stty raw -echo; echo echo""es; exec cat\r');
  await console.sees('echoes\n');
  console.socket.removeAllListeners('data');
  return startEcho(console.socket, { name: 'console' });
}
