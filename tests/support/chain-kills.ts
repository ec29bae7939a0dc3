/** SIGKILL of a VMM or its QEMU at random moments, while snapshots of a chain are written, composed and restored. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readComposeSource } from '../../src/snapshot-files/compose.ts';
import { removeAbandoned } from '../../src/snapshot-files/remove-abandoned.ts';
import { reasonOf } from '../../src/util/errno.ts';
import { assertStatus, messagesOf, type Answer } from './answers.ts';
import { boot } from './boot.ts';
import { childrenOf, isAlive, qemuOf } from './processes.ts';
import { KILL_SEED, momentsIn, randomFrom } from './random.ts';
import { saveAs } from './snapshot-chains.ts';
import { SNAPSHOT_FILES } from './snapshots.ts';
import { makeFolder, startVmm, type TestVmm } from './vmm.ts';
import { until } from './wait.ts';

const MIB = 2 ** 20;

type Action = 'save' | 'compose' | 'restore';
export const ACTIONS: readonly Action[] = ['save', 'compose', 'restore'];

/** A chain of a full snapshot and a differential one. */
interface Chain {
  readonly folder: string;
  readonly diff: string;
  /** checksums of their RAM */
  readonly sums: ReadonlyMap<string, string>;
}

/** Kills so many processes in each of some actions: VMM and QEMU in turn, at moments that are spread over the action. */
export async function killInChains(kills: number, actions: readonly Action[] = ACTIONS): Promise<void> {
  const random = randomFrom(KILL_SEED);
  const chain = await makeChain();
  try {
    for (const action of actions) {
      for (const [i, after] of momentsIn(await durationOf(chain, action), kills, random).entries()) {
        const victim = i % 2 === 0 ? 'VMM' : 'QEMU';
        await killOnce(chain, { action, victim, after }).catch((error: unknown) => {
          throw new Error(`${victim} in ${action} after ${after} ms: ${reasonOf(error)}`, { cause: error });
        });
      }
    }
    await using vmm = await startVmm();
    assertStatus(await vmm.put('vm.restore', { source_url: `file://${chain.diff}` }), 204);
  } finally {
    rmSync(chain.folder, { recursive: true, force: true });
  }
}

async function makeChain(): Promise<Chain> {
  const folder = makeFolder();
  await using vmm = await startVmm();
  using shell = await boot(vmm, { memory: { size: 256 * MIB } });
  await shell.run('mkdir /m; mount -t tmpfs m /m; head -c 20000000 /dev/urandom >/m/a');
  const full = await saveAs(vmm, join(folder, 'full'), 'full');
  assertStatus(await vmm.put('vm.resume'), 204);
  await shell.run('head -c 8000000 /dev/urandom >/m/b');
  const diff = await saveAs(vmm, join(folder, 'diff'), 'diff');
  return { folder, diff, sums: new Map([full, diff].map((one) => [one, sumOf(one)])) };
}

function sumOf(folder: string): string {
  return createHash('sha256')
    .update(readFileSync(join(folder, 'memory-ranges')))
    .digest('hex');
}

interface Kill {
  readonly action: Action;
  readonly victim: 'VMM' | 'QEMU';
  /** in milliseconds */
  readonly after: number;
}

/** Duration of an action on this host, in milliseconds. */
async function durationOf({ folder, diff }: Chain, action: Action): Promise<number> {
  const target = newTarget(folder);
  await using vmm = await startVmm();
  if (action !== 'restore') await runFor(vmm, diff);
  const begun = performance.now();
  assertStatus(await act(vmm, action, { diff, target }), 204);
  return performance.now() - begun;
}

/** Makes the directory that an action writes. */
function newTarget(folder: string): string {
  const target = join(folder, 'target');
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target);
  return target;
}

async function killOnce({ folder, diff, sums }: Chain, { action, victim, after }: Kill): Promise<void> {
  const target = newTarget(folder);
  await using vmm = await startVmm();
  if (action !== 'restore') await runFor(vmm, diff);
  const acting: Promise<Answer | undefined> = act(vmm, action, { diff, target }).catch(() => undefined);
  await delay(after);
  const processes = childrenOf(vmm.pid);
  if (victim === 'VMM') vmm.kill('SIGKILL');
  else for (const { pid } of processes) process.kill(pid, 'SIGKILL');
  const answer = await acting;
  if (victim === 'VMM') {
    await vmm.exited;
    await until('QEMU exits with its VMM', () => processes.every(({ pid }) => !isAlive(pid)));
  }
  // an error names its reason below its outermost message
  if (answer !== undefined && answer.status >= 400) assert.ok(messagesOf(answer).length > 1);
  await checkTarget(target);
  for (const [one, sum] of sums) assert.equal(sumOf(one), sum);
  await readComposeSource(diff);
}

/** Restores the chain, and lets the guest change its RAM. */
async function runFor(vmm: TestVmm, diff: string): Promise<void> {
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${diff}`, resume: true }), 204);
  assert.ok(qemuOf(vmm.pid) > 0);
  await delay(50);
  assertStatus(await vmm.put('vm.pause'), 204);
}

function act(
  vmm: TestVmm,
  action: Action,
  { diff, target }: { readonly diff: string; readonly target: string },
): Promise<Answer> {
  if (action === 'restore') return vmm.put('vm.restore', { source_url: `file://${diff}` });
  const request = { destination_url: `file://${target}`, snapshot_type: 'diff' };
  return vmm.put('vm.snapshot', { ...request, compose: action === 'compose' });
}

/** Checks that a directory has a whole snapshot, or one that is refused. The next operation removes the files of a killed VMM. */
async function checkTarget(target: string): Promise<void> {
  const isWhole = existsSync(join(target, 'manifest.json'));
  if (isWhole) await readComposeSource(target);
  else await assert.rejects(readComposeSource(target), /is no whole snapshot/);
  await removeAbandoned(target);
  assert.deepEqual(readdirSync(target).toSorted(), isWhole ? SNAPSHOT_FILES : []);
  if (isWhole) await readComposeSource(target);
}
