/** Events in the phases of a live snapshot: cancellations, signals, and a guest or a QEMU that stops. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CancelledError } from '../../../src/sdk/errors.ts';
import type { LiveSnapshotResult } from '../../../src/sdk/snapshot.ts';
import { assertStatus } from '../answers.ts';
import { createAndBoot } from '../boot.ts';
import { guestConfig } from '../guest.ts';
import { interfaceName, interfaces } from '../host-network.ts';
import { isAlive } from '../processes.ts';
import { openShellOnSocket } from '../shell.ts';
import { SNAPSHOT_FILES } from '../snapshots.ts';
import { openTerminal } from '../terminal.ts';
import { viewConsole } from '../viewers.ts';
import { stateOf } from '../vm-info.ts';
import { startVmm, type TestVmm } from '../vmm.ts';
import { until } from '../wait.ts';
import { checkSnapshot, checkVm, methodOf, start, type Origin, type Running } from './live-kills.ts';
import { qemusOf, requestLive, takeLive } from './live-snapshot.ts';

/** Steps of a live snapshot, as its operation shows them. */
export const PHASES = ['starting another QEMU', 'switching to the other QEMU', 'writing memory'] as const;
/** Steps of one in which the VM continues in its QEMU. */
export const PHASES_IN_PLACE = ['freezing memory', 'writing memory'] as const;
export type Phase = (typeof PHASES)[number] | (typeof PHASES_IN_PLACE)[number] | 'copying disks';

/** Attempts until an event hits a phase that takes some milliseconds. */
const ATTEMPTS = 20;

/** Result of an observed live snapshot. */
type Outcome = 'complete' | 'cancelled' | 'failed' | 'unanswered';

/** An event in a live snapshot. */
interface ObservedEvent {
  readonly phase: Phase;
  readonly act: () => void;
  readonly signal?: AbortSignal;
  readonly disks?: 'copy';
}

/** An observed live snapshot. */
export interface Observed {
  readonly outcome: Outcome;
  readonly isHit: boolean;
  readonly error?: unknown;
  readonly result?: LiveSnapshotResult | undefined;
}

/** Takes a live snapshot into a new folder, and calls `act` at the start of a phase, if the phase is seen. */
export async function observeLive(
  vmm: TestVmm,
  folder: string,
  { phase, act, signal, disks }: ObservedEvent,
): Promise<Observed> {
  mkdirSync(folder);
  let isHit = false;
  const onProgress = (progress: { readonly phase?: string }): void => {
    if (progress.phase !== phase || isHit) return;
    isHit = true;
    act();
  };
  const request = { destination_url: `file://${folder}`, live: true, ...(disks && { disks }) };
  try {
    const result = await vmm.client.observe('vm.snapshot', request, {
      onProgress,
      ...(signal && { signal }),
    });
    return { outcome: 'complete', isHit, result };
  } catch (error) {
    if (error instanceof CancelledError) return { outcome: 'cancelled', isHit };
    const isAnswered = error instanceof Error && 'status' in error;
    return { outcome: isAnswered ? 'failed' : 'unanswered', isHit, error };
  }
}

/** Calls `attempt` until it returns true. */
export async function untilHit(what: string, attempt: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < ATTEMPTS; i++) if (await attempt()) return;
  assert.fail(`${what} was not hit in ${ATTEMPTS} attempts`);
}

/** Fails unless a folder is empty after a failure, and complete after a success. */
function checkFiles(folder: string, outcome: Outcome): void {
  assert.deepEqual(readdirSync(folder).toSorted(), outcome === 'complete' ? SNAPSHOT_FILES : []);
}

/** Cancels live snapshots of one VM in a phase: the VM runs on in one process, and nothing is left. */
export async function cancelIn(origin: Origin, phase: Phase): Promise<void> {
  await using vmm = await startVmm();
  const { shell } = await start(vmm, origin);
  using _shell = shell;
  const folder = join(vmm.folder, 'live');
  await untilHit(phase, async () => {
    const controller = new AbortController();
    const act = (): void => controller.abort();
    const { outcome, error } = await observeLive(vmm, folder, { phase, act, signal: controller.signal });
    assert.ok(outcome === 'complete' || outcome === 'cancelled', String(error));
    checkFiles(folder, outcome);
    rmSync(folder, { recursive: true });
    await checkVm(vmm, shell);
    assert.equal(await stateOf(vmm), 'Running');
    return outcome === 'cancelled';
  });
  assert.equal((await takeLive(vmm, folder)).method, methodOf(origin));
  await checkVm(vmm, shell);
}

/** Ends the VMM by SIGTERM in a phase: no process, TAP or incomplete snapshot is left. */
export async function terminateIn(origin: Origin, phase: Phase): Promise<void> {
  await untilHit(phase, async () => {
    await using vmm = await startVmm();
    const { shell, tap } = await start(vmm, origin);
    using _shell = shell;
    const folder = join(vmm.folder, 'live');
    let qemus: number[] = [];
    const { outcome, isHit } = await observeLive(vmm, folder, {
      phase,
      act: () => {
        qemus = qemusOf(vmm);
        vmm.kill('SIGTERM');
      },
    });
    if (!isHit) return false;
    assert.equal(await vmm.exited, 0);
    await until('every QEMU is gone', () => qemus.every((pid) => !isAlive(pid)));
    await until('the TAP is gone', () => !interfaces().includes(tap));
    checkFiles(folder, outcome === 'unanswered' && readdirSync(folder).length > 0 ? 'complete' : outcome);
    await checkSnapshot(origin, folder);
    return true;
  });
}

/** Pids of the two QEMU processes of a live snapshot. */
function twinOf(vmm: TestVmm, first: number | undefined): number | undefined {
  return qemusOf(vmm).find((pid) => pid !== first);
}

/** Stops the twin by SIGSTOP in the pause: after 5 s the VM goes on in its own QEMU. */
export async function stopTwinInPause(origin: Origin): Promise<void> {
  await untilHit('the pause', async () => {
    await using vmm = await startVmm();
    const { shell } = await start(vmm, origin);
    using _shell = shell;
    const folder = join(vmm.folder, 'live');
    const [first] = qemusOf(vmm);
    let twin: number | undefined;
    let wake: NodeJS.Timeout | undefined;
    const observed = await observeLive(vmm, folder, {
      phase: 'switching to the other QEMU',
      act: () => {
        twin = twinOf(vmm, first);
        if (twin === undefined) return;
        process.kill(twin, 'SIGSTOP');
        // the guest has continued in it before: it is to go on
        const stopped = twin;
        wake = setTimeout(() => isAlive(stopped) && process.kill(stopped, 'SIGCONT'), 15_000);
      },
    });
    clearTimeout(wake);
    if (twin !== undefined && isAlive(twin)) process.kill(twin, 'SIGCONT');
    if (observed.outcome === 'complete') return false;
    assert.match(String(observed.error), /the pause took more than 5 s/);
    assert.deepEqual(qemusOf(vmm), [first]);
    assert.equal(await stateOf(vmm), 'Running');
    checkFiles(folder, 'failed');
    await checkVm(vmm, shell);
    return true;
  });
}

/** Stops the twin by SIGSTOP while it is prepared: a cancellation does not wait for it, and the VM runs meanwhile. */
export async function stopTwinBefore(origin: Origin): Promise<void> {
  await using vmm = await startVmm();
  const { shell } = await start(vmm, origin);
  using _shell = shell;
  const folder = join(vmm.folder, 'live');
  const [first] = qemusOf(vmm);
  const controller = new AbortController();
  const ended = observeLive(vmm, folder, {
    phase: 'starting another QEMU',
    act: () => undefined,
    signal: controller.signal,
  });
  let twin: number | undefined;
  await until('the other QEMU runs', () => (twin = twinOf(vmm, first)) !== undefined);
  if (twin !== undefined) process.kill(twin, 'SIGSTOP');
  assert.equal(await shell.run('echo runs'), 'runs');
  const begun = performance.now();
  controller.abort();
  assert.equal((await ended).outcome, 'cancelled');
  assert.ok(performance.now() - begun < 5000);
  assert.deepEqual(qemusOf(vmm), [first]);
  checkFiles(folder, 'cancelled');
  await checkVm(vmm, shell);
}

/** Lets the guest run a command at a moment of a live snapshot, in milliseconds, and checks the VM afterwards. */
async function actInGuest(
  origin: Origin,
  { moment, command }: { readonly moment: number; readonly command: string },
  check: (running: Running, folder: string) => Promise<void>,
): Promise<void> {
  await using vmm = await startVmm();
  const running = await start(vmm, origin);
  using shell = running.shell;
  assert.equal(await shell.run('echo ready'), 'ready');
  const folder = join(vmm.folder, 'live');
  const answer = requestLive(vmm, folder).then(
    ({ status }) => status,
    () => undefined,
  );
  await delay(moment);
  shell.type(`${command}\r`);
  const status = await answer;
  await check(running, folder);
  // the guest of a complete one resets or powers off as well, when it runs
  if (status !== 200) return;
  await using other = await startVmm();
  const path = join(other.folder, 'disk.raw');
  copyFileSync(origin.disk, path);
  const overrides = { disks: [{ id: 'data', path }], net: [{ id: 'net', tap: interfaceName() }] };
  assertStatus(await other.put('vm.restore', { source_url: `file://${folder}`, overrides }), 204);
}

/** Resets the guest at a moment: it boots again in exactly one QEMU. */
export async function resetAt(origin: Origin, moment: number): Promise<void> {
  const command = 'echo b >/proc/sysrq-trigger';
  await actInGuest(origin, { moment, command }, async ({ vmm, shell }) => {
    await shell.login();
    await checkVm(vmm, shell);
    assert.equal(qemusOf(vmm).length, 1);
  });
}

/** Powers the guest off at a moment: the VMM exits, and leaves nothing. */
export async function powerOffAt(origin: Origin, moment: number): Promise<void> {
  await actInGuest(origin, { moment, command: 'poweroff -f' }, async ({ vmm, tap }, folder) => {
    assert.equal(await vmm.exited, 0);
    assert.deepEqual(qemusOf(vmm), []);
    await until('the TAP is gone', () => !interfaces().includes(tap));
    const names = readdirSync(folder);
    if (names.length > 0) checkFiles(folder, 'complete');
  });
}

/** Uses a VM on a terminal, and viewers of it and of a console on a socket, before and after live snapshots. */
export async function useTerminalAndViewers(): Promise<void> {
  using terminal = await openTerminal();
  await using vmm = await startVmm({ terminal: terminal.path });
  const socket = join(vmm.folder, 'hvc0.sock');
  const consoles = { serial: { mode: 'Tty' }, console: { mode: 'Socket', socket } };
  const cmdline = { args: 'console=ttyS0 console=hvc0' };
  await createAndBoot(vmm, guestConfig({ memory: { size: 192 * 2 ** 20 }, cmdline, ...consoles }));
  const { shell } = terminal;
  await shell.login();
  using client = openShellOnSocket(socket);
  client.type('\r');
  await client.login();
  const viewers = [await viewConsole(vmm, 'device=serial'), await viewConsole(vmm, 'device=console')];
  for (let i = 1; i <= 3; i++) {
    assert.equal((await takeLive(vmm, join(vmm.folder, `live${i}`))).method, 'remap');
    for (const [name, one] of [['terminal', shell] as const, ['client', client] as const]) {
      assert.equal(await one.run(`echo ${name} ${i}`), `${name} ${i}`);
    }
    for (const [at, name] of ['terminal', 'client'].entries()) {
      const shown = (): string => viewers[at]?.bytes().toString() ?? '';
      await until('the viewer has the output', () => shown().includes(`\n${name} ${i}`), shown);
    }
  }
  assert.ok(terminal.isRaw());
  for (const viewer of viewers) await viewer.leave();
  assertStatus(await vmm.put('vm.shutdown'), 204);
  assert.equal(terminal.isRaw(), false);
}

/** Longest wait of a cancellation for a QEMU that is stopped, in milliseconds. */
const CANCEL_MS = 12_000;

/** Cancels a live snapshot while QEMU is stopped by SIGSTOP in the phase of the pause: the answer does not wait for QEMU. */
export async function cancelWhileStopped(origin: Origin, phase: Phase): Promise<void> {
  await using vmm = await startVmm();
  const { shell } = await start(vmm, origin);
  using _shell = shell;
  const folder = join(vmm.folder, 'live');
  await untilHit('a QEMU that is stopped in the pause', async () => {
    const [qemu = 0] = qemusOf(vmm);
    const controller = new AbortController();
    let stoppedAt = 0;
    const act = (): void => {
      process.kill(qemu, 'SIGSTOP');
      stoppedAt = performance.now();
      controller.abort();
    };
    const observed = await observeLive(vmm, folder, { phase, act, signal: controller.signal });
    const took = performance.now() - stoppedAt;
    // or it was killed, as the twin runs
    const wasStopped = !isAlive(qemu) || stateOfProcess(qemu) === 'T';
    if (isAlive(qemu)) process.kill(qemu, 'SIGCONT');
    checkFiles(folder, observed.outcome);
    rmSync(folder, { recursive: true });
    await checkVm(vmm, shell);
    if (observed.outcome !== 'cancelled') return false;
    assert.ok(wasStopped, 'the answer has waited for QEMU');
    assert.ok(took < CANCEL_MS, `the cancellation took ${took} ms`);
    assert.equal(await stateOf(vmm), 'Running');
    return true;
  });
  // no descriptor and no node of the cancelled one is in the way
  assert.equal((await takeLive(vmm, folder, { disks: 'copy' })).method, methodOf(origin));
  await checkVm(vmm, shell);
  await checkSnapshot(origin, folder);
}

/** Returns the state of a process in /proc, e.g. `T`. */
function stateOfProcess(pid: number): string {
  return /^State:\s*(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';
}

/** Time limit of an answer of the VMM while QEMU is stopped, in milliseconds. */
const PING_MS = 2000;

/** Stops QEMU by SIGSTOP in each phase: the VMM answers meanwhile, and the VM runs on when QEMU does. */
export async function stopQemuIn(origin: Origin, phase: Phase, stoppedMs: number): Promise<void> {
  await using vmm = await startVmm();
  const { shell } = await start(vmm, origin);
  using _shell = shell;
  const folder = join(vmm.folder, 'live');
  const [qemu = 0] = qemusOf(vmm);
  const pings: Promise<number>[] = [];
  const ping = async (): Promise<number> => {
    const begun = performance.now();
    assertStatus(await vmm.get('vmm.ping'), 200);
    return performance.now() - begun;
  };
  let wake: NodeJS.Timeout | undefined;
  let pinging: NodeJS.Timeout | undefined;
  const act = (): void => {
    process.kill(qemu, 'SIGSTOP');
    pinging = setInterval(() => pings.push(ping()), 100);
    wake = setTimeout(() => process.kill(qemu, 'SIGCONT'), stoppedMs);
  };
  const { outcome, isHit } = await observeLive(vmm, folder, { phase, act });
  clearInterval(pinging);
  clearTimeout(wake);
  process.kill(qemu, 'SIGCONT');
  assert.ok(isHit);
  const longest = Math.max(...(await Promise.all(pings)));
  assert.ok(longest < PING_MS, `an answer took ${longest} ms`);
  checkFiles(folder, outcome);
  await checkVm(vmm, shell);
  assert.equal(await stateOf(vmm), 'Running');
  await checkSnapshot(origin, folder);
  assert.equal((await takeLive(vmm, join(vmm.folder, 'next'))).method, methodOf(origin));
  await checkVm(vmm, shell);
}

/** Takes two live snapshots at once: the second one waits. */
export async function takeTwo(origin: Origin): Promise<void> {
  await using vmm = await startVmm();
  const { shell } = await start(vmm, origin);
  using _shell = shell;
  const folders = ['one', 'two'].map((name) => join(vmm.folder, name));
  const answers = await Promise.all(
    folders.map((folder) => {
      mkdirSync(folder);
      return vmm.put('vm.snapshot', { destination_url: `file://${folder}`, live: true });
    }),
  );
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200],
  );
  await checkVm(vmm, shell);
  for (const folder of folders) await checkSnapshot(origin, folder);
}
