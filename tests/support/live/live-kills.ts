/** Kills of the processes of a live snapshot: the VMM, the QEMU of the VM, and the QEMU that continues it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { assertRefused, assertStatus } from '../answers.ts';
import { boot } from '../boot.ts';
import { interfaceName, interfaces } from '../host-network.ts';
import { makeImage } from '../images.ts';
import { isAlive } from '../processes.ts';
import { KILL_SEED, momentsIn, randomFrom } from '../random.ts';
import { openShell, type Shell } from '../shell.ts';
import { takeSnapshot } from '../snapshots.ts';
import { ptyOf, stateOf } from '../vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from '../vmm.ts';
import { until } from '../wait.ts';
import { qemusOf, requestLive, takeLive } from './live-snapshot.ts';

const MIB = 2 ** 20;

/** Process that is killed. */
export type Victim = 'VMM' | 'QEMU' | 'twin';
const VICTIMS: readonly Victim[] = ['twin', 'QEMU', 'VMM'];

/** A snapshot of a guest with a disk and a TAP, and the disk at that time. */
export interface Origin {
  readonly folder: string;
  readonly disk: string;
  /** true: `start` boots a guest, which continues in its QEMU; default: it restores the snapshot, whose guest continues in a twin */
  readonly boots?: boolean;
}

/** Puts random bytes and their checksum into the guest's RAM. */
const FILL =
  'dd if=/dev/urandom of=/run/filled bs=1M count=8 2>/dev/null; md5sum /run/filled >/run/filled.md5';
/** Prints `whole` where the bytes are the same. */
const COMPARE = 'md5sum -c /run/filled.md5 >/dev/null 2>&1 && echo whole';

/** Longest time from the start of the second QEMU to the end of the switchover on a busy machine, in milliseconds. */
const SWITCHOVER_MS = 80;

/**
 * Kills each process in turn. Half of the moments are spread over the whole of a live snapshot, the others over the switchover, which
 * begins when the second QEMU has started.
 */
export async function killsInLive(
  context: TestContext,
  kills: number,
  victims: readonly Victim[] = VICTIMS,
): Promise<void> {
  const home = makeFolder();
  try {
    const origin = await makeOrigin(home);
    const duration = await durationOf(origin);
    const random = randomFrom(KILL_SEED);
    const half = Math.ceil(kills / 2);
    for (const [i, moment] of momentsIn(duration, half, random).entries()) {
      const victim = victims[i % victims.length] ?? 'twin';
      await context.test(`${victim} is killed ${moment} ms into a live snapshot (seed ${KILL_SEED})`, () =>
        killInLive(origin, victim, () => delay(moment)),
      );
    }
    for (const [i, moment] of momentsIn(SWITCHOVER_MS, kills - half, random).entries()) {
      const victim = victims[i % victims.length] ?? 'twin';
      await context.test(`${victim} is killed ${moment} ms after the second start (seed ${KILL_SEED})`, () =>
        killInLive(origin, victim, (vmm) => afterSecondStart(vmm, moment)),
      );
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Kills QEMU and VMM of booted VMs in turn, at moments that are spread over the whole of a live snapshot. */
export async function killsInPlace(context: TestContext, kills: number): Promise<void> {
  const home = makeFolder();
  try {
    const origin = { ...(await makeOrigin(home)), boots: true };
    const duration = await durationOf(origin);
    for (const [i, moment] of momentsIn(duration, kills, randomFrom(KILL_SEED)).entries()) {
      const victim = i % 2 === 0 ? 'QEMU' : 'VMM';
      await context.test(`${victim} is killed ${moment} ms into a live snapshot (seed ${KILL_SEED})`, () =>
        killInLive(origin, victim, () => delay(moment)),
      );
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Returns the way of the live snapshots of a VM that `start` returns. */
export function methodOf({ boots = false }: Origin): 'remap' | 'twin' {
  return boots ? 'remap' : 'twin';
}

export async function makeOrigin(home: string): Promise<Origin> {
  await using vmm = await startVmm();
  const [folder, disk] = [join(home, 'good'), join(home, 'disk.raw')];
  const path = makeImage(join(vmm.folder, 'disk.raw'), 8 * MIB);
  using _shell = await bootFilled(vmm, path, interfaceName());
  await takeSnapshot(vmm, folder);
  copyFileSync(path, disk);
  return { folder, disk };
}

async function bootFilled(vmm: TestVmm, path: string, tap: string): Promise<Shell> {
  const shell = await boot(vmm, {
    memory: { size: 192 * MIB },
    disks: [{ path, image_type: 'Raw', id: 'data' }],
    net: [{ tap, id: 'net' }],
  });
  await shell.run(FILL);
  return shell;
}

/** Time limit of the start of a second QEMU, in milliseconds. */
const START_MS = 30_000;

/** A running copy of the guest. */
export interface Running {
  readonly vmm: TestVmm;
  readonly shell: Shell;
  readonly tap: string;
}

/** Starts a copy of the guest, or boots one; see `Origin`. */
export async function start(vmm: TestVmm, { folder, disk, boots = false }: Origin): Promise<Running> {
  const [path, tap] = [join(vmm.folder, 'disk.raw'), interfaceName()];
  copyFileSync(disk, path);
  if (boots) return { vmm, shell: await bootFilled(vmm, path, tap), tap };
  const overrides = { disks: [{ id: 'data', path }], net: [{ id: 'net', tap }] };
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${folder}`, overrides, resume: true }), 204);
  return { vmm, shell: openShell(await ptyOf(vmm)), tap };
}

/** Duration of a live snapshot on this host, in milliseconds. */
async function durationOf(origin: Origin): Promise<number> {
  await using vmm = await startVmm();
  const { shell } = await start(vmm, origin);
  using _shell = shell;
  const begun = performance.now();
  assert.equal((await takeLive(vmm, join(vmm.folder, 'live'))).method, methodOf(origin));
  return performance.now() - begun;
}

/** Waits until a VMM has started a second QEMU, and `ms` milliseconds more. */
async function afterSecondStart(vmm: TestVmm, ms: number): Promise<void> {
  const started = (): number => vmm.output().split('runs as pid').length - 1;
  const deadline = performance.now() + START_MS;
  while (started() < 2 && performance.now() < deadline) await delay(1);
  await delay(ms);
}

/** Characters of the VMM's output in an error. */
const OUTPUT_CHARS = 4000;

async function killInLive(
  origin: Origin,
  victim: Victim,
  moment: (vmm: TestVmm) => Promise<void>,
): Promise<void> {
  await using vmm = await startVmm();
  const { shell, tap } = await start(vmm, origin);
  using _shell = shell;
  const folder = join(vmm.folder, 'live');
  const [first] = qemusOf(vmm);
  const answer = requestLive(vmm, folder).then(
    ({ status }) => status,
    () => undefined,
  );
  await moment(vmm);
  const all = qemusOf(vmm);
  const twin = all.find((pid) => pid !== first);
  const pid = { VMM: vmm.pid, QEMU: first, twin }[victim];
  if (pid !== undefined && isAlive(pid)) process.kill(pid, 'SIGKILL');
  const status = await answer;
  if (victim === 'VMM') {
    await vmm.exited;
    await until('every QEMU is gone', () => all.every((one) => !isAlive(one)));
  } else {
    assert.ok(status === 200 || status === 500, `answered ${status}: ${vmm.output().slice(-OUTPUT_CHARS)}`);
    await checkVm(vmm, shell);
    const names = readdirSync(folder);
    assert.deepEqual(status === 200 ? names.includes('manifest.json') : names, status === 200 ? true : []);
    await vmm.put('vm.delete');
    assert.deepEqual(qemusOf(vmm), []);
  }
  await until('the TAP is gone', () => !interfaces().includes(tap));
  await checkSnapshot(origin, folder);
  await checkSnapshot(origin, origin.folder);
}

/** Fails unless the VM runs in exactly one process, or has none. */
export async function checkVm(vmm: TestVmm, shell: Shell): Promise<void> {
  // the exit of a process is noticed a little later
  await until('the VM runs in one process, or in none', async () => {
    const isRunning = (await stateOf(vmm)) === 'Running';
    return qemusOf(vmm).length === (isRunning ? 1 : 0);
  });
  if ((await stateOf(vmm)) !== 'Running') return;
  assert.equal(await shell.run('echo written >/dev/vda; sync; head -c 7 /dev/vda'), 'written');
  if (!(await hasRebooted(shell))) assert.equal(await shell.run(COMPARE), 'whole');
}

/** Returns whether the guest has booted again, and has no contents of its RAM from before. */
async function hasRebooted(shell: Shell): Promise<boolean> {
  return (await shell.run('[ -e /run/filled.md5 ] || echo new')) === 'new';
}

/** A snapshot with a manifest is restored and its guest answers; one without is refused. */
export async function checkSnapshot(origin: Origin, folder: string): Promise<void> {
  await using vmm = await startVmm();
  if (!readdirSync(folder).includes('manifest.json')) {
    const refused = await vmm.put('vm.restore', { source_url: `file://${folder}` });
    assertRefused(refused, 500, /is no whole snapshot|no such file/i);
    return;
  }
  const { shell } = await start(vmm, { ...origin, folder, boots: false });
  using _shell = shell;
  assert.equal(await shell.run(COMPARE), 'whole');
}

/** Kills the QEMU that is to continue a VM as soon as it runs: the VM goes on in its own. */
export async function killTwinAtOnce(vmm: TestVmm, shell: Shell): Promise<void> {
  const [first] = qemusOf(vmm);
  const folder = join(vmm.folder, 'killed');
  let isAnswered = false;
  const answer = requestLive(vmm, folder).finally(() => (isAnswered = true));
  let twin: number | undefined;
  await until('a second QEMU runs', () => {
    twin = qemusOf(vmm).find((pid) => pid !== first);
    return twin !== undefined || isAnswered;
  });
  if (twin !== undefined) process.kill(twin, 'SIGKILL');
  assertStatus(await answer, 500);
  assert.deepEqual(readdirSync(folder), []);
  assert.deepEqual(qemusOf(vmm), [first]);
  assert.equal(await stateOf(vmm), 'Running');
  assert.equal(await shell.run('echo alive'), 'alive');
}

/** Takes a live snapshot into a file system that is too small: nothing is left in it, and the VM runs on in one process. Needs root. */
export async function fillDiskInLive(vmm: TestVmm, shell: Shell): Promise<void> {
  const folder = join(vmm.folder, 'small');
  mkdirSync(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'none', folder]);
  try {
    const answer = await vmm.put('vm.snapshot', { destination_url: `file://${folder}`, live: true });
    assertRefused(answer, 500, /no space left on device/);
    assert.deepEqual(readdirSync(folder), []);
  } finally {
    execFileSync('umount', [folder]);
  }
  assert.equal(qemusOf(vmm).length, 1);
  assert.equal(await stateOf(vmm), 'Running');
  assert.equal(await shell.run('echo alive'), 'alive');
}
