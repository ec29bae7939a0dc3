import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { VmSnapshotConfig } from '../../api/requests.ts';
import { loadLibc } from '../../native/libc.ts';
import { allocate } from '../../native/memory.ts';
import type { RamBlock } from '../../qemu/qmp/ram-blocks.ts';
import { decode } from '../../schema/decode.ts';
import { deferred } from '../../util/deferred.ts';
import { UNTRACKED } from '../../util/operation-tracker.ts';
import type { CapturedMachine, MachineStates } from './capture-machine.ts';
import { saveSnapshot } from './save.ts';

const MIB = 2 ** 20;
const home = mkdtempSync(join(tmpdir(), 'nephos-save-'));
after(() => rmSync(home, { recursive: true }));

/** Returns the contents of a new folder after the failure of a snapshot, and the reason. */
async function failedSave(pid: number, block: RamBlock, states: Promise<MachineStates>) {
  const folder = join(home, `${pid}`);
  mkdirSync(folder);
  const { signal } = new AbortController();
  const request = decode(VmSnapshotConfig, { destination_url: `file://${folder}` });
  const captured: CapturedMachine = {
    qemu: { pid, qmp: { version: [10, 0, 0] } },
    ...{ blocks: [], states, config: '{}\n', zones: new Map() },
    memory: { nameless: [], discarding: [block] },
  };
  states.catch(() => undefined);
  const running = { kill: signal, waits: signal, tracker: UNTRACKED };
  const saving = saveSnapshot({ snapshotBase: undefined }, request, running, () => Promise.resolve(captured));
  const reason: unknown = await saving.then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.cause : undefined),
  );
  return { left: readdirSync(folder), reason: String(reason) };
}

function ramAt(address: number): RamBlock {
  return { name: 'ram', length: 64 * MIB, address, planned: true, huge: false };
}

test('states that cannot be read end a snapshot whose RAM is being written', async () => {
  await loadLibc();
  const ram = allocate(64 * MIB);
  new Uint8Array(ram.view.buffer).fill(1);
  const states = nextTurn().then(() => Promise.reject(new Error('no states')));
  const { left, reason } = await failedSave(process.pid, ramAt(ram.address), states);
  ram.free();
  assert.deepEqual(left, []);
  assert.match(reason, /no states/);
});

test('a snapshot whose RAM cannot be read ends after the states are read', async () => {
  await loadLibc();
  const states = deferred<MachineStates>();
  let isRead = false;
  const noProcess = 2 ** 22 + 1;
  const failed = failedSave(noProcess, ramAt(0), states.promise).then((result) => ({ ...result, isRead }));
  for (let turn = 0; turn < 1000; turn++) await nextTurn();
  isRead = true;
  states.reject(new Error('read later'));
  const { left, reason, isRead: wasRead } = await failed;
  assert.deepEqual([left, wasRead], [[], true]);
  assert.match(reason, /ENOENT|no such file/);
});
