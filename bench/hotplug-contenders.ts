import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { chooseAccelerator } from '../src/host/system/accelerator.ts';
import { openQmp, type Qmp } from '../src/qemu/qmp/connection.ts';
import type { Answer } from '../tests/support/answers.ts';
import { KERNEL } from '../tests/support/guest.ts';
import { openShell, type Shell, shellOn } from '../tests/support/shell.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import { call, startVmm } from '../tests/support/vmm.ts';
import { until } from '../tests/support/wait.ts';
import { CPU } from './by-hand.ts';

const MIB = 2 ** 20;
const RAM = 512 * MIB;
const EXTRA_RAM = 1024 * MIB;
const FIRST_VCPUS = 2;
/** number of vCPUs that can be added; none is removed */
export const MORE_VCPUS = 40;
const MOST_VCPUS = FIRST_VCPUS + MORE_VCPUS;
const CMDLINE = 'console=hvc0 memhp_default_state=online';
/** Serial port whose output QEMU appends to a file, for both contenders. */
const MARKS = '/dev/ttyS0';

export interface BootFiles {
  readonly folder: string;
  readonly disk: string;
  readonly initramfs: string;
}

/** A running guest with the operations to change it. */
export interface Contender extends AsyncDisposable {
  readonly name: string;
  readonly shell: Shell;
  /** device of the guest whose output goes to `marks` */
  readonly marker: string;
  /** file on the host with the output of `marker` */
  readonly marks: string;
  readonly pause: () => Promise<void>;
  readonly resume: () => Promise<void>;
  readonly addDisk: () => Promise<void>;
  readonly removeDisk: () => Promise<void>;
  readonly setVcpus: (count: number) => Promise<void>;
  /** takes the `bytes` beyond the RAM at boot */
  readonly setExtraRam: (bytes: number) => Promise<void>;
}

/** Starts a guest with Nephos, controlled through its API. */
export async function startNephos({ folder, disk, initramfs }: BootFiles): Promise<Contender> {
  const vmm = await startVmm();
  const marks = marksFile(folder);
  // one connection, as over QMP
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const put = async (path: string, body?: unknown): Promise<void> => {
    const answer: Answer = await call(vmm.socket, 'PUT', { path, body, agent });
    if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.json)}`);
  };
  await put('vm.create', {
    cpus: { boot_vcpus: FIRST_VCPUS, max_vcpus: MOST_VCPUS },
    memory: { size: RAM, hotplug_method: 'VirtioMem', hotplug_size: EXTRA_RAM },
    kernel: { path: KERNEL },
    initramfs: { path: initramfs },
    cmdline: { args: CMDLINE },
    serial: { mode: 'File', file: marks },
    console: { mode: 'Pty' },
  });
  await put('vm.boot');
  const shell = openShell(await ptyOf(vmm, 'console'));
  await shell.login();
  return {
    name: 'nephos',
    shell,
    marker: MARKS,
    marks,
    pause: () => put('vm.pause'),
    resume: () => put('vm.resume'),
    addDisk: () => put('vm.add-disk', { path: disk, id: 'd' }),
    removeDisk: async () => {
      await put('vm.remove-device', { id: 'd' });
      await until(
        'the disk is free',
        async () => !JSON.stringify((await vmm.get('vm.info')).json).includes('"d"'),
      );
    },
    setVcpus: (count) => put('vm.resize', { desired_vcpus: count }),
    setExtraRam: (bytes) => put('vm.resize', { desired_ram: RAM + bytes }),
    [Symbol.asyncDispose]: () => {
      agent.destroy();
      return vmm[Symbol.asyncDispose]();
    },
  };
}

/** Starts the same machine with plain QEMU, controlled over QMP on a socket. */
export async function startByHand({ folder, disk, initramfs }: BootFiles): Promise<Contender> {
  const socket = join(folder, `qmp-${Math.random().toString(36).slice(2)}`);
  const marks = marksFile(folder);
  const child = spawn('qemu-system-x86_64', machineArguments(socket, initramfs, marks), {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  try {
    const shell = shellOn({
      write: (text) => void child.stdin.write(text),
      onData: (take) => void child.stdout.on('data', take),
      close: () => undefined,
    });
    const qmp = await openByPath(socket);
    await shell.login();
    return {
      name: 'by hand',
      shell,
      marker: MARKS,
      marks,
      ...byHand(qmp, disk),
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function marksFile(folder: string): string {
  const path = join(folder, `marks-${Math.random().toString(36).slice(2)}`);
  writeFileSync(path, '');
  return path;
}

function machineArguments(socket: string, initramfs: string, marks: string): string[] {
  return [
    ...['-M', 'pc,usb=off,vmport=off,smbus=off,hpet=off,memory-backend=ram', '-cpu', CPU],
    ...['-accel', chooseAccelerator().name, '-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-object', JSON.stringify({ 'qom-type': 'memory-backend-memfd', id: 'ram', size: RAM, share: true })],
    ...['-m', `${RAM}b,maxmem=${RAM + EXTRA_RAM}b`],
    ...['-smp', `${FIRST_VCPUS},maxcpus=${MOST_VCPUS},sockets=${MOST_VCPUS}`, '-bios', 'qboot.rom'],
    ...[
      '-object',
      JSON.stringify({ 'qom-type': 'memory-backend-memfd', id: 'more', size: EXTRA_RAM, share: true }),
    ],
    ...['-device', 'virtio-mem-pci,id=vm,memdev=more,requested-size=0'],
    ...['-kernel', KERNEL, '-initrd', initramfs, '-append', CMDLINE],
    ...['-serial', `file:${marks}`, '-chardev', 'stdio,id=console'],
    ...['-device', 'virtio-serial-pci', '-device', 'virtconsole,chardev=console'],
    ...['-qmp', `unix:${socket},server=on,wait=off`],
  ];
}

async function openByPath(path: string): Promise<Qmp> {
  const found: Socket[] = [];
  // QEMU creates the socket after its start
  await until('QMP answers', async () => {
    const stream = connect(path);
    await once(stream, 'connect');
    found.push(stream);
    return true;
  });
  const [stream] = found;
  if (stream === undefined) throw new Error('QMP did not answer');
  return openQmp(stream, () => undefined);
}

function byHand(
  qmp: Qmp,
  disk: string,
): Omit<Contender, 'name' | 'shell' | 'marker' | 'marks' | keyof AsyncDisposable> {
  // the options of Nephos, so that they do not change the ratio
  const file = { driver: 'file', 'node-name': 'f', filename: disk, aio: 'io_uring' };
  return {
    pause: async () => await qmp.execute('stop'),
    resume: async () => await qmp.execute('cont'),
    addDisk: async () => {
      await qmp.execute('blockdev-add', file);
      await qmp.execute('blockdev-add', { driver: 'raw', 'node-name': 'd', file: 'f' });
      await qmp.execute('device_add', {
        driver: 'virtio-blk-pci',
        id: 'disk',
        drive: 'd',
        'num-queues': 1,
        'queue-size': 128,
        'disable-legacy': 'on',
      });
    },
    removeDisk: async () => {
      await qmp.execute('device_del', { id: 'disk' });
      // rejected while the guest uses the disk
      await until('the disk is free', async () => {
        await qmp.execute('blockdev-del', { 'node-name': 'd' });
        return true;
      });
      await qmp.execute('blockdev-del', { 'node-name': 'f' });
    },
    setVcpus: async (count) => {
      await qmp.execute('device_add', {
        driver: 'max-x86_64-cpu',
        id: `cpu${count}`,
        'socket-id': count - 1,
        'core-id': 0,
        'thread-id': 0,
      });
    },
    setExtraRam: async (bytes) => {
      await qmp.execute('qom-set', {
        path: '/machine/peripheral/vm',
        property: 'requested-size',
        value: bytes,
      });
    },
  };
}
