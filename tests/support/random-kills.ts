import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, assertStatus } from './answers.ts';
import { createAndBoot } from './boot.ts';
import { guestConfig } from './guest.ts';
import { interfaces } from './host-network.ts';
import { makeImage } from './images.ts';
import { childrenOf, isAlive } from './processes.ts';
import { KILL_SEED, momentsIn, randomFrom } from './random.ts';
import { makeFolder, startVmm, type TestVmm } from './vmm.ts';
import { until, within } from './wait.ts';

/*
 * Signals at random moments of operations. For each process: the next boot works, no resource is left, the exit code
 * is right.
 */

const MIB = 2 ** 20;
const TAP = 'nephos-kill0';
/** Within 5 s, and as much again for a busy machine. */
const END_MS = 10_000;

/** Processes and their signals. A stopped VMM goes on after a moment; a stopped QEMU does not. */
const SIGNALS = [
  ['QEMU', 'SIGKILL'],
  ['VMM', 'SIGKILL'],
  ['QEMU', 'SIGSTOP'],
  ['VMM', 'SIGSTOP'],
  ['QEMU', 'SIGSEGV'],
  ['VMM', 'SIGTERM'],
] as const;
type Sent = (typeof SIGNALS)[number];

/** Files that all VMMs of a run use, one after another. */
interface Site {
  readonly folder: string;
  readonly socket: string;
  /** a snapshot that is whole */
  readonly good: string;
}

/** Operation during which a signal is sent. */
interface Scenario {
  readonly name: string;
  /** Brings the VMM to the state in which the operation begins. */
  readonly prepare: (vmm: TestVmm, site: Site) => Promise<void>;
  /** Calls of the API, one after the other. */
  readonly act: (vmm: TestVmm, site: Site) => Promise<Answer>;
  /** another VMM takes part */
  readonly withPeer?: boolean;
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'boot',
    prepare: async (vmm, site) => assertStatus(await vmm.put('vm.create', configIn(site)), 204),
    act: (vmm) => vmm.put('vm.boot'),
  },
  { name: 'hot-plug', prepare: boot, act: plugAndUnplug },
  { name: 'reboot', prepare: boot, act: (vmm) => vmm.put('vm.reboot') },
  {
    name: 'snapshot',
    prepare: async (vmm, site) => {
      await boot(vmm, site);
      assertStatus(await vmm.put('vm.pause'), 204);
      mkdirSync(targetIn(site));
    },
    act: (vmm, site) => vmm.put('vm.snapshot', { destination_url: `file://${targetIn(site)}` }),
  },
  {
    name: 'restore',
    prepare: async () => undefined,
    act: (vmm, { good }) => vmm.put('vm.restore', { source_url: `file://${good}`, resume: true }),
  },
  {
    name: 'migration',
    // both VMMs are on this host: the source has its TAP and its socket until the end
    prepare: (vmm, site) => boot(vmm, site, { net: undefined, vsock: undefined }),
    act: migrate,
    withPeer: true,
  },
];

/** Runs so many kills; scenarios and signals alternate, the moments are random. */
export async function killAtRandom(context: TestContext, kills: number): Promise<void> {
  const random = randomFrom(KILL_SEED);
  const folder = makeFolder();
  const site = { folder, socket: join(folder, 'api.sock'), good: join(folder, 'good') };
  try {
    prepareFiles(site);
    await saveGood(site);
    const each = Math.ceil(kills / SCENARIOS.length);
    for (const [i, scenario] of SCENARIOS.entries()) {
      const duration = await measure(scenario, site);
      for (const [k, moment] of momentsIn(duration, each, random).entries()) {
        // every scenario begins with another signal, so that a short run has all of them
        const sent = SIGNALS[(k + i) % SIGNALS.length] ?? SIGNALS[0];
        const what = `${sent.join(' ')} ${moment} ms into a ${scenario.name} (seed ${KILL_SEED})`;
        await context.test(what, () => signalAt(scenario, site, { sent, moment }));
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function prepareFiles({ folder }: Site): void {
  for (const name of ['disk.raw', 'later.raw']) {
    makeImage(join(folder, name), MIB);
  }
}

const targetIn = ({ folder }: Site): string => join(folder, 'target');
const vsockIn = ({ folder }: Site): string => join(folder, 'v.sock');

function configIn(site: Site): Record<string, unknown> {
  return guestConfig({
    memory: { size: 128 * MIB, shared: true },
    disks: [{ path: join(site.folder, 'disk.raw') }],
    net: [{ tap: TAP }],
    vsock: { cid: 5, socket: vsockIn(site) },
  });
}

async function boot(vmm: TestVmm, site: Site, more: object = {}): Promise<void> {
  await createAndBoot(vmm, { ...configIn(site), ...more });
}

async function saveGood(site: Site): Promise<void> {
  await using vmm = await startVmm({ socket: site.socket });
  await boot(vmm, site);
  assertStatus(await vmm.put('vm.pause'), 204);
  mkdirSync(site.good);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${site.good}` }), 204);
  await end(vmm);
}

async function plugAndUnplug(vmm: TestVmm, { folder }: Site): Promise<Answer> {
  const added = await vmm.put('vm.add-disk', { path: join(folder, 'later.raw'), id: 'later' });
  if (added.status !== 200) return added;
  await vmm.put('vm.remove-device', { id: 'later' });
  return vmm.put('vm.add-net', { tap: `${TAP}b` });
}

async function migrate(vmm: TestVmm, { folder }: Site): Promise<Answer> {
  const socket = join(folder, 'migration.sock');
  await until('the destination listens', () => existsSync(socket), undefined, 5000).catch(() => undefined);
  return vmm.put('vm.send-migration', { destination_url: `unix:${socket}` });
}

/** Starts the destination of a migration: a VMM that waits for a VM. Its answer is not used. */
async function startPeer({ withPeer = false }: Scenario, site: Site): Promise<TestVmm | undefined> {
  if (!withPeer) return undefined;
  const peer = await startVmm();
  const url = `unix:${join(site.folder, 'migration.sock')}`;
  peer.put('vm.receive-migration', { receiver_url: url }).catch(() => undefined);
  return peer;
}

/** Measures the duration of a scenario on this host, in milliseconds. */
async function measure(scenario: Scenario, site: Site): Promise<number> {
  await using vmm = await startVmm({ socket: site.socket });
  await using peer = await startPeer(scenario, site);
  await scenario.prepare(vmm, site);
  const begun = performance.now();
  const { status, json } = await scenario.act(vmm, site);
  const took = performance.now() - begun;
  assert.ok([200, 204].includes(status), JSON.stringify(json));
  await end(vmm);
  if (peer !== undefined) await end(peer);
  rmSync(targetIn(site), { recursive: true, force: true });
  return took;
}

interface Moment {
  readonly sent: Sent;
  readonly moment: number;
}

async function signalAt(
  scenario: Scenario,
  site: Site,
  { sent: [whom, signal], moment }: Moment,
): Promise<void> {
  await using vmm = await startVmm({ socket: site.socket });
  await using peer = await startPeer(scenario, site);
  await scenario.prepare(vmm, site);
  const answer = scenario.act(vmm, site).catch(() => undefined);
  await delay(moment);
  const all = [vmm, peer].flatMap((one) => (one === undefined ? [] : childrenOf(one.pid)));
  // a copy of the VMM is not QEMU yet: Node's main thread waits for it until it is
  const qemu = childrenOf(vmm.pid).find(({ command }) => !command.includes('bin/cloud-hypervisor'));
  const pid = whom === 'VMM' ? vmm.pid : qemu?.pid;
  if (pid !== undefined && isAlive(pid)) process.kill(pid, signal);
  if (whom === 'VMM') await afterVmm(vmm, signal);
  if (isAlive(vmm.pid)) await stillWorks(vmm, { site, answer, isStopped: signal === 'SIGSTOP', peer });
  if (peer !== undefined && isAlive(peer.pid)) await end(peer);
  await until('every QEMU is gone', () => all.every(({ pid }) => !isAlive(pid)));
  checkSnapshot(site, whom === 'VMM' && signal === 'SIGKILL');
  await nextBoots(site);
}

async function afterVmm(vmm: TestVmm, signal: Sent[1]): Promise<void> {
  switch (signal) {
    case 'SIGSTOP':
      await delay(200);
      vmm.kill('SIGCONT');
      return;
    case 'SIGTERM':
      await within(END_MS, 'the end', async () => assert.equal(await vmm.exited, 0, vmm.output()));
      assert.ok(!existsSync(vmm.socket));
      return;
    default:
      assert.equal(await vmm.exited, 'SIGKILL');
  }
}

interface Survivor {
  readonly site: Site;
  readonly answer: Promise<Answer | undefined>;
  /** its QEMU, or itself for a moment */
  readonly isStopped: boolean;
  /** the destination of a migration: after success it has the VM and its disk */
  readonly peer: TestVmm | undefined;
}

/** Fails unless a running VMM answers, deletes its VM in any state, and boots another. */
async function stillWorks(vmm: TestVmm, { site, answer, isStopped, peer }: Survivor): Promise<void> {
  const looks = async (): Promise<void> => {
    assert.ok([200, 404].includes((await vmm.get('vm.info')).status));
  };
  await within(END_MS, 'vm.info', looks);
  // a request that waits for a stopped QEMU is answered when its VM is deleted
  if (!isStopped) assert.ok([200, 204, 404, 405, 500].includes((await answer)?.status ?? 0));
  const remove = async (): Promise<void> => {
    assert.ok([204, 404].includes((await vmm.put('vm.delete')).status));
  };
  await within(END_MS, 'vm.delete', remove);
  await answer;
  // a restore in progress may have created its VM after the request
  await vmm.put('vm.delete');
  assert.deepEqual(childrenOf(vmm.pid), []);
  assertGone(site);
  if (peer !== undefined) await end(peer);
  await boot(vmm, site);
  await end(vmm);
}

async function end(vmm: TestVmm): Promise<void> {
  await within(END_MS, 'vmm.shutdown', async () => {
    assertStatus(await vmm.put('vmm.shutdown'), 204);
    assert.equal(await vmm.exited, 0, vmm.output());
  });
  assert.ok(!existsSync(vmm.socket));
}

/** Fails where an interface or a socket of a VM is left. */
function assertGone(site: Site): void {
  assert.deepEqual(
    interfaces().filter((name) => name.startsWith(TAP)),
    [],
  );
  assert.ok(!existsSync(vsockIn(site)), 'the vsock socket is left');
  assert.ok(!existsSync(join(site.folder, 'migration.sock')), 'the socket of the migration is left');
}

/** A snapshot is whole, or its folder is empty where the VMM was not killed in the middle of it. */
function checkSnapshot(site: Site, isKilled: boolean): void {
  const target = targetIn(site);
  const names = existsSync(target) ? readdirSync(target) : [];
  if (!isKilled) assert.ok(names.length === 0 || names.includes('manifest.json'), names.join());
  rmSync(target, { recursive: true, force: true });
}

/** The next VMM, at the same socket and with the same files. */
async function nextBoots(site: Site): Promise<void> {
  await until('no interface is left', () => !interfaces().some((name) => name.startsWith(TAP)));
  await using vmm = await startVmm({ socket: site.socket });
  await boot(vmm, site);
  await end(vmm);
  assertGone(site);
}
