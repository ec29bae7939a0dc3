/** Requests of live snapshots, and checks of what they leave. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import * as v from 'valibot';
import { assertStatus, type Answer } from '../answers.ts';
import { childrenOf } from '../processes.ts';
import { openShell, type Shell } from '../shell.ts';
import { SNAPSHOT_FILES } from '../snapshots.ts';
import { ptyOf } from '../vm-info.ts';
import type { TestVmm } from '../vmm.ts';
import { SECOND } from './live-guest.ts';

const LiveAnswer = v.strictObject({
  method: v.picklist(['remap', 'twin', 'copy']),
  reason: v.optional(v.string()),
  pause_ms: v.pipe(v.number(), v.minValue(0)),
  disks: v.optional(v.array(v.strictObject({ id: v.string(), file: v.string() }))),
});
/** Answer of a live snapshot; `pause_ms` in milliseconds. */
export type LiveAnswer = v.InferOutput<typeof LiveAnswer>;

/** Members of the request of a live snapshot. */
interface LiveOptions {
  readonly disks?: 'copy';
}

/** Requests a live snapshot into a new folder, and returns the raw answer. */
export function requestLive(vmm: TestVmm, folder: string, options: LiveOptions = {}): Promise<Answer> {
  mkdirSync(folder);
  return vmm.put('vm.snapshot', { destination_url: `file://${folder}`, live: true, ...options });
}

/** Takes a live snapshot into a new folder. The VM runs on in one process. */
export async function takeLive(vmm: TestVmm, folder: string, options: LiveOptions = {}): Promise<LiveAnswer> {
  const answer = await requestLive(vmm, folder, options);
  assertStatus(answer, 200);
  const result = v.parse(LiveAnswer, answer.json);
  const copies = (result.disks ?? []).map(({ file }) => file);
  assert.deepEqual(readdirSync(folder).toSorted(), [...SNAPSHOT_FILES, ...copies].toSorted());
  assert.equal(qemusOf(vmm).length, 1);
  return result;
}

/** Returns the pids of a VMM's QEMU processes, oldest first. */
export function qemusOf({ pid }: TestVmm): number[] {
  return childrenOf(pid)
    .filter(({ command }) => command.includes('qemu-system'))
    .map((one) => one.pid)
    .toSorted((a, b) => a - b);
}

/** Restores a live snapshot of a {@link LiveGuest} with another image and TAP, and opens its shell. */
export async function restoreCopy(
  vmm: TestVmm,
  folder: string,
  { disk, second, tap }: { readonly disk: string; readonly second?: string; readonly tap: string },
): Promise<Shell> {
  const overrides = {
    disks: [{ id: 'data', path: disk }, ...(second === undefined ? [] : [{ id: SECOND, path: second }])],
    net: [{ id: 'net', tap }],
    console: { socket: `${vmm.folder}/hvc0.sock` },
  };
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${folder}`, overrides, resume: true }), 204);
  return openShell(await ptyOf(vmm));
}
