/** Guests with the guest tools, on their SSH server, without `nephos run`. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { connectGuest } from '../../src/guest/connect-guest.ts';
import type { Guest } from '../../src/guest/guest.ts';
import { writeBootFiles, type GuestBoot } from '../../src/run/guest-tools/boot-initramfs.ts';
import { mountCommand } from '../../src/run/guest-tools/boot-steps.ts';
import { enterCommand } from '../../src/run/guest-tools/enter-command.ts';
import { guestTools } from '../../src/run/guest-tools/guest-tools.ts';
import { SSH_PORT_NAME, type GuestVolume } from '../../src/run/plan-run.ts';
import { openServerStream } from '../../src/run/owner/start-guest.ts';
import { startVmm, type TestVmm } from './vmm.ts';

/** Limit of a boot, on a busy machine. */
const BOOT_MS = 180_000;

/** User of commands for the shell of the tools, outside the image. */
export const TOOLS_USER = '/tools';

/** A guest, and the VMM of its VM. */
export interface ToolsGuest extends AsyncDisposable {
  readonly vmm: TestVmm;
  readonly guest: Guest;
}

/** A guest to boot. */
export interface ToolsGuestOptions extends Omit<GuestBoot, 'tools'> {
  /** squashfs files of its disks */
  readonly disks?: readonly string[];
  /** mounted before the promise settles */
  readonly volumes?: readonly GuestVolume[];
  /** further members of its configuration */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** Boots a guest and connects to its SSH server. */
export async function bootToolsGuest({
  disks = [],
  volumes = [],
  config,
  ...boot
}: ToolsGuestOptions): Promise<ToolsGuest> {
  const tools = await guestTools();
  const vmm = await startVmm();
  try {
    const files = await writeBootFiles(join(vmm.folder, 'initramfs'), { ...boot, tools });
    const socket = join(vmm.folder, 'console.sock');
    await vmm.client.call('vm.create', {
      cpus: { boot_vcpus: 1, max_vcpus: 1 },
      memory: { size: 256 * 2 ** 20 },
      kernel: { path: files.kernel },
      initramfs: { path: files.initramfs },
      cmdline: { args: `console=ttyS0 quiet panic=-1 ${files.commandLine}` },
      serial: { mode: 'Null' },
      console: { mode: 'Socket', socket, port: SSH_PORT_NAME },
      disks: disks.map((path) => ({ path, readonly: true, image_type: 'Raw' as const })),
      ...config,
    });
    await vmm.client.call('vm.boot', undefined);
    const stream = await openServerStream(socket, AbortSignal.timeout(BOOT_MS));
    const guest = await connectGuest({ stream, user: 'nephos', render: renderForTools, timeoutMs: BOOT_MS });
    if (volumes.length > 0) {
      const { exitCode, stderr } = await guest.exec(mountCommand(volumes), { user: TOOLS_USER });
      assert.deepEqual([exitCode, stderr], [0, '']);
    }
    return {
      vmm,
      guest,
      [Symbol.asyncDispose]: async () => {
        await guest[Symbol.asyncDispose]();
        await vmm[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await vmm[Symbol.asyncDispose]();
    throw error;
  }
}

const renderForTools: typeof enterCommand = (command, hasTerminal) =>
  command.user === TOOLS_USER && typeof command.argv === 'string'
    ? command.argv
    : enterCommand(command, hasTerminal);

/** Makes a tree with busybox, its commands, and further files by their paths. A path that ends with `/` is a directory. */
export function makeBusyboxTree(root: string, files: Readonly<Record<string, string>>): void {
  for (const name of ['bin', 'etc', 'tmp']) mkdirSync(join(root, name), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  const applets = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets) {
    if (!existsSync(join(root, 'bin', applet))) symlinkSync('busybox', join(root, 'bin', applet));
  }
  for (const [path, text] of Object.entries(files)) {
    if (path.endsWith('/')) {
      mkdirSync(join(root, path), { recursive: true });
      continue;
    }
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

/** Makes a squashfs of a tree; all files belong to root. */
export function makeSquashfs(root: string, target: string): void {
  const words = ['-C', root, '--owner=0', '--group=0', '--numeric-owner', '-cf', '-', '.'];
  const tar = execFileSync('tar', words, { maxBuffer: 2 ** 28 });
  execFileSync('tar2sqfs', ['-q', '-f', '-c', 'lz4', target], { input: tar });
}
