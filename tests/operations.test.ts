import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as v from 'valibot';
import { OperationInfo, OperationList } from '../src/api/operations.ts';
import { readComposeSource } from '../src/snapshot-files/compose.ts';
import { CancelledError } from '../src/sdk/errors.ts';
import { assertRefused, assertStatus, type Answer } from './support/answers.ts';
import { boot, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { untilReceiving } from './support/migration.ts';
import { childrenOf } from './support/processes.ts';
import type { Shell } from './support/shell.ts';
import { SNAPSHOT_FILES } from './support/snapshots.ts';
import { stateOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

/** Answer with the headers of asynchronous requests. */
interface Accepted extends Answer {
  readonly location: string;
  readonly applied: string | undefined;
}

/** Sends a request; with `prefer` its header of that name. */
function send(vmm: TestVmm, line: string, body?: unknown, prefer?: string): Promise<Accepted> {
  const [method = '', path = ''] = line.split(' ');
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = { 'Content-Length': Buffer.byteLength(text), ...(prefer !== undefined && { prefer }) };
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: vmm.socket, method, path, headers }, (incoming) => {
      let got = '';
      incoming.setEncoding('utf8').on('data', (part) => (got += part));
      incoming.on('end', () => {
        const { location = '', 'preference-applied': applied } = incoming.headers;
        const json: unknown = got === '' ? undefined : JSON.parse(got);
        resolve({ status: incoming.statusCode ?? 0, json, location, applied: applied?.toString() });
      });
    });
    sent.on('error', reject).end(text);
  });
}

/** Starts an operation. @returns its path */
async function start(vmm: TestVmm, endpoint: string, body?: unknown, prefer = 'respond-async') {
  const answer = await send(vmm, `PUT /api/v1/${endpoint}`, body, prefer);
  assertStatus(answer, 202);
  return { path: answer.location, info: v.parse(OperationInfo.schema, answer.json) };
}

async function read(vmm: TestVmm, path: string): Promise<OperationInfo> {
  const answer = await send(vmm, `GET ${path}`);
  assertStatus(answer, 200);
  return v.parse(OperationInfo.schema, answer.json);
}

/** Cancels an operation. One that cannot be withdrawn any more is awaited. @returns the ended operation */
async function cancel(vmm: TestVmm, path: string): Promise<OperationInfo> {
  const answer = await send(vmm, `DELETE ${path}`);
  if (answer.status === 409) return ended(vmm, path);
  assertStatus(answer, 200);
  return v.parse(OperationInfo.schema, answer.json);
}

/** Waits for the end of an operation. */
async function ended(vmm: TestVmm, path: string): Promise<OperationInfo> {
  let info = await read(vmm, path);
  await until(`${info.kind} has ended`, async () => (info = await read(vmm, path)).finished !== undefined);
  return info;
}

/** Times after which operations are cancelled, in milliseconds. */
const MOMENTS = [0, 5 + 20 * Math.random(), 40 + 80 * Math.random()];

/** Number of open file descriptors of a VMM. */
const descriptorsOf = ({ pid }: TestVmm): number => readdirSync(`/proc/${pid}/fd`).length;

/** Fails unless the guest runs commands. */
async function assertWorks(shell: Shell): Promise<void> {
  assert.equal(await shell.run('echo $((6 * 7))'), '42');
}

test('operations of a VMM are observed and cancelled', async (t) => {
  await using vmm = await startVmm();
  assertRefused(await send(vmm, 'PUT /api/v1/vm.boot', undefined, 'respond-async'), 404, 'not created');
  const disk = makeImage(join(vmm.folder, 'disk'), 2 ** 20);
  using shell = await boot(vmm);
  const folder = join(vmm.folder, 'snapshot');
  const url = { destination_url: `file://${folder}` };
  mkdirSync(folder);

  await t.test('a request that cannot succeed is answered at once', async () => {
    const answer = await send(vmm, 'PUT /api/v1/vm.snapshot', url, 'respond-async');
    assertRefused(answer, 405, 'The VM is Running');
    assertRefused(await send(vmm, 'GET /api/v1/vmm.operations/none'), 404, 'No operation has this id');
  });

  await t.test('a disk is added, and removed when the guest has released it', async () => {
    const added = await start(vmm, 'vm.add-disk', { path: disk, id: 'more' });
    const { state, result, kind } = await ended(vmm, added.path);
    assert.deepEqual(
      { state, kind, id: result?.['id'] },
      { state: 'succeeded', kind: 'vm.add-disk', id: 'more' },
    );
    const removed = await start(vmm, 'vm.remove-device', { id: 'more' }, 'x=1, Respond-Async, wait=80');
    assert.equal((await ended(vmm, removed.path)).state, 'succeeded');
    const { device_tree: tree } = await vmm.client.call('vm.info');
    assert.ok(tree !== undefined && !('more' in tree));
    const failed = await ended(vmm, (await start(vmm, 'vm.remove-device', { id: 'more' })).path);
    assert.equal(failed.state, 'failed');
    assert.deepEqual(failed.error, ['vm.remove-device failed', 'No device is called "more"']);
  });

  await t.test(
    'a paused guest releases nothing: the removal fails in time and cannot be withdrawn',
    async () => {
      assertStatus(await vmm.put('vm.add-disk', { path: disk, id: 'kept' }), 200);
      assertStatus(await vmm.put('vm.pause'), 204);
      const { path } = await start(vmm, 'vm.remove-device', { id: 'kept' }, 'respond-async, wait=1');
      await until('the guest was asked', async () => !(await read(vmm, path)).cancellable);
      if ((await read(vmm, path)).finished === undefined) {
        assertRefused(await send(vmm, `DELETE ${path}`), 409, 'cannot be withdrawn');
      }
      const { state, error } = await ended(vmm, path);
      assert.equal(state, 'failed');
      assert.match(error?.join() ?? '', /kept: the guest has not released it in time/);
      assertStatus(await vmm.put('vm.resume'), 204);
      await until('the guest has released it', async () => {
        const { device_tree: tree } = await vmm.client.call('vm.info');
        return tree !== undefined && !('kept' in tree);
      });
    },
  );

  assertStatus(await vmm.put('vm.pause'), 204);
  const open = descriptorsOf(vmm);

  await t.test('a composition is observed; a cancelled one leaves the differential snapshot', async () => {
    const base = join(vmm.folder, 'base');
    mkdirSync(base);
    assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${base}` }), 204);
    // each one is the base of the next
    const compose = (): Promise<{ path: string; made: string }> => {
      const made = join(base, `${readdirSync(base).length}`);
      mkdirSync(made);
      const request = { destination_url: `file://${made}`, snapshot_type: 'diff', compose: true };
      return start(vmm, 'vm.snapshot', request).then(({ path }) => ({ path, made }));
    };
    for (let isCancelled = false; !isCancelled;) {
      const { path, made } = await compose();
      let info = await read(vmm, path);
      await until('the full snapshot is composed', async () => {
        info = await read(vmm, path);
        return info.finished !== undefined || info.progress?.phase === 'composing a full snapshot';
      });
      assert.ok(info.finished !== undefined || info.cancellable);
      // one that is complete before is tried again
      isCancelled = (await cancel(vmm, path)).state === 'cancelled';
      assert.deepEqual(readdirSync(made).toSorted(), SNAPSHOT_FILES);
      assert.equal((await readComposeSource(made)).chain.length, isCancelled ? 2 : 1);
    }
    assert.equal(await stateOf(vmm), 'Paused');
    const { path, made } = await compose();
    assert.equal((await ended(vmm, path)).state, 'succeeded');
    assert.equal((await readComposeSource(made)).chain.length, 1);
    rmSync(base, { recursive: true });
  });

  await t.test('a cancelled snapshot leaves no file', async () => {
    for (const moment of MOMENTS) {
      const { path } = await start(vmm, 'vm.snapshot', url);
      await delay(moment);
      const { state } = await cancel(vmm, path);
      if (state === 'succeeded') for (const name of SNAPSHOT_FILES) rmSync(join(folder, name));
      else assert.equal(state, 'cancelled');
      assert.deepEqual(readdirSync(folder), []);
      assert.equal(await stateOf(vmm), 'Paused');
    }
  });

  await t.test('a cancelled core dump leaves no file', async () => {
    const core = join(vmm.folder, 'core');
    for (const moment of MOMENTS) {
      const { path } = await start(vmm, 'vm.coredump', { destination_url: `file://${core}` });
      await delay(moment);
      const { state } = await cancel(vmm, path);
      if (state === 'succeeded') rmSync(core);
      else assert.equal(state, 'cancelled');
      assert.ok(!existsSync(core));
    }
  });

  await t.test('an operation behind another one is queued, and can be cancelled there', async () => {
    const core = join(vmm.folder, 'core');
    const first = await start(vmm, 'vm.coredump', { destination_url: `file://${core}` });
    const second = await start(vmm, 'vm.snapshot', url);
    assert.deepEqual([first.info.state, second.info.state], ['running', 'queued']);
    assert.equal((await cancel(vmm, second.path)).state, 'cancelled');
    assert.equal((await ended(vmm, first.path)).state, 'succeeded');
    assert.ok(existsSync(core));
    assert.deepEqual(readdirSync(folder), []);
    const list = v.parse(OperationList.schema, (await vmm.get('vmm.operations')).json);
    assert.equal(list.at(-1)?.id, second.info.id);
  });

  await t.test('a whole snapshot has its progress; then the guest runs on', async () => {
    const { path } = await start(vmm, 'vm.snapshot', url);
    const { state, progress } = await ended(vmm, path);
    assert.equal(state, 'succeeded');
    assert.ok(progress?.total !== undefined && progress.total > 2 ** 20);
    assert.equal(progress.done, progress.total);
    assert.deepEqual(readdirSync(folder).toSorted(), SNAPSHOT_FILES);
    await until('all descriptors are closed', () => descriptorsOf(vmm) <= open);
    assertStatus(await vmm.put('vm.resume'), 204);
    await assertWorks(shell);
  });

  await t.test('a cancelled restore leaves no VM', async () => {
    assertStatus(await vmm.put('vm.delete'), 204);
    for (const moment of MOMENTS) {
      const { path } = await start(vmm, 'vm.restore', { source_url: `file://${folder}`, prefault: true });
      await delay(moment);
      const { state } = await cancel(vmm, path);
      if (state === 'succeeded') assertStatus(await vmm.put('vm.delete'), 204);
      else assert.equal(state, 'cancelled');
      assertStatus(await vmm.get('vm.info'), 404);
      assert.deepEqual(childrenOf(vmm.pid), []);
    }
  });

  await t.test('a cancelled boot leaves the VM Created', async () => {
    assertStatus(await vmm.put('vm.create', guestConfig()), 204);
    for (const moment of MOMENTS) {
      const { path } = await start(vmm, 'vm.boot');
      await delay(moment / 4);
      const { state } = await cancel(vmm, path);
      if (state === 'succeeded') break;
      assert.equal(state, 'cancelled');
      assert.equal(await stateOf(vmm), 'Created');
      assert.deepEqual(childrenOf(vmm.pid), []);
    }
    if ((await stateOf(vmm)) === 'Created') assertStatus(await vmm.put('vm.boot'), 204);
    using again = await login(vmm);
    await assertWorks(again);
  });
});

test('a cancelled migration leaves the VM here, and none at the destination', async () => {
  await using source = await startVmm();
  await using destination = await startVmm();
  using shell = await boot(source);
  const socket = join(destination.folder, 'migration');
  for (const moment of [0, 100 * Math.random(), 300 + 700 * Math.random()]) {
    const from = destination.output().length;
    const receiving = await start(destination, 'vm.receive-migration', { receiver_url: `unix:${socket}` });
    await untilReceiving(destination, `unix:${socket}`, from);
    const { path } = await start(source, 'vm.send-migration', { destination_url: `unix:${socket}` });
    await delay(moment);
    const answer = await send(source, `DELETE ${path}`);
    if (answer.status === 409 || (await read(source, path)).state === 'succeeded') {
      assert.equal((await ended(destination, receiving.path)).state, 'succeeded');
      return;
    }
    assert.equal((await read(source, path)).state, 'cancelled');
    assert.equal((await ended(destination, receiving.path)).state, 'failed');
    assertStatus(await destination.get('vm.info'), 404);
    assert.deepEqual([childrenOf(destination.pid), existsSync(socket)], [[], false]);
    assert.equal(await stateOf(source), 'Running');
    await assertWorks(shell);
  }
  const waiting = await start(destination, 'vm.receive-migration', { receiver_url: `unix:${socket}` });
  assert.equal((await cancel(destination, waiting.path)).state, 'cancelled');
  assert.ok(!existsSync(socket));
});

test('the signal of a client cancels its request', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const core = join(vmm.folder, 'core');
  const abort = new AbortController();
  const phases: string[] = [];
  const dump = vmm.client.observe(
    'vm.coredump',
    { destination_url: `file://${core}` },
    {
      signal: abort.signal,
      onProgress: ({ phase }) => {
        phases.push(phase);
        abort.abort(new Error('enough'));
      },
    },
  );
  await assert.rejects(dump, CancelledError);
  assert.deepEqual([phases, existsSync(core)], [['writing memory'], false]);
  await assertWorks(shell);
});
