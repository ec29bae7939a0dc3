import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import * as v from 'valibot';
import { OperationInfo } from '../../src/api/operations.ts';
import { assertStatus } from '../support/answers.ts';
import { boot } from '../support/boot.ts';
import { untilReceiving } from '../support/migration.ts';
import { stateOf } from '../support/vm-info.ts';
import { startVmm, type TestVmm } from '../support/vmm.ts';
import { until } from '../support/wait.ts';

const GIB = 2 ** 30;

/** Time limit of the cancellation, in milliseconds. */
const LIMIT_MS = 200;

/** Median time limit of vmm.ping, vm.info and vm.counters, in milliseconds. */
const QUERY_MS = 20;

interface Timed {
  readonly info: OperationInfo;
  readonly tookMs: number;
}

/** Sends a request of an operation and returns its state, with the duration of the answer. */
function send(vmm: TestVmm, method: string, path: string, body?: object): Promise<Timed> {
  const started = performance.now();
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = { 'Content-Length': Buffer.byteLength(text), Prefer: 'respond-async' };
  const options = { socketPath: vmm.socket, method, path: `/api/v1/${path}`, headers };
  return new Promise((resolve, reject) => {
    const sent = request(options, (incoming) => {
      let got = '';
      incoming.setEncoding('utf8').on('data', (part) => (got += part));
      incoming.on('end', () => {
        const info = v.safeParse(OperationInfo.schema, JSON.parse(got));
        if (!info.success) return reject(new Error(got));
        resolve({ info: info.output, tookMs: performance.now() - started });
      });
    });
    sent.on('error', reject).end(text);
  });
}

/** Waits until an operation has processed an amount, and measures the queries meanwhile. @returns the median of each query */
async function untilDone(vmm: TestVmm, id: string, bytes: number): Promise<Record<string, number>> {
  const times: Record<string, number[]> = { 'vmm.ping': [], 'vm.info': [], 'vm.counters': [] };
  await until(`${bytes} bytes are processed`, async () => {
    for (const [name, list] of Object.entries(times)) {
      const started = performance.now();
      assertStatus(await vmm.get(name), 200);
      list.push(performance.now() - started);
    }
    const { info } = await send(vmm, 'GET', `vmm.operations/${id}`);
    assert.equal(info.finished, undefined, JSON.stringify(info));
    return (info.progress?.done ?? 0) >= bytes;
  });
  const median = (list: number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
  return Object.fromEntries(Object.entries(times).map(([name, list]) => [name, median(list)]));
}

test('a snapshot and a migration of 8 GiB are cancelled within 200 ms', async (t) => {
  await using vmm = await startVmm();
  await using destination = await startVmm();
  using shell = await boot(vmm, { memory: { size: 8 * GIB } });
  await shell.run('mkdir /full && mount -t tmpfs -o size=7g none /full');
  // copies of a file: a byte that a program writes takes the emulated processor much longer
  await shell.run('tr "\\0" x < /dev/zero | head -c 16m > /seed', 300_000);
  await shell.run('for i in $(seq 340); do cat /seed; done > /full/x', 600_000);
  const folder = join(vmm.folder, 'snapshot');
  mkdirSync(folder);

  assertStatus(await vmm.put('vm.pause'), 204);
  const snapshot = await send(vmm, 'PUT', 'vm.snapshot', { destination_url: `file://${folder}` });
  const queries = await untilDone(vmm, snapshot.info.id, 2 * GIB);
  const cancelled = await send(vmm, 'DELETE', `vmm.operations/${snapshot.info.id}`);
  t.diagnostic(`snapshot: cancelled in ${cancelled.tookMs.toFixed(0)} ms; ${JSON.stringify(queries)}`);
  assert.equal(cancelled.info.state, 'cancelled');
  assert.deepEqual(readdirSync(folder), []);
  assert.ok(cancelled.tookMs < LIMIT_MS, `cancelled after ${cancelled.tookMs} ms`);
  for (const [name, ms] of Object.entries(queries)) assert.ok(ms < QUERY_MS, `${name} took ${ms} ms`);

  assertStatus(await vmm.put('vm.resume'), 204);
  const url = `unix:${join(destination.folder, 'migration')}`;
  const receiving = await send(destination, 'PUT', 'vm.receive-migration', { receiver_url: url });
  await untilReceiving(destination, url);
  const migration = await send(vmm, 'PUT', 'vm.send-migration', { destination_url: url });
  const during = await untilDone(vmm, migration.info.id, GIB);
  const stopped = await send(vmm, 'DELETE', `vmm.operations/${migration.info.id}`);
  t.diagnostic(`migration: cancelled in ${stopped.tookMs.toFixed(0)} ms; ${JSON.stringify(during)}`);
  assert.equal(stopped.info.state, 'cancelled');
  assert.equal(await stateOf(vmm), 'Running');
  assert.ok(stopped.tookMs < LIMIT_MS, `cancelled after ${stopped.tookMs} ms`);
  await until('the destination has no VM', async () => {
    const { info } = await send(destination, 'GET', `vmm.operations/${receiving.info.id}`);
    return info.state === 'failed' && (await destination.get('vm.info')).status === 404;
  });
  assert.equal(await shell.run('head -c 3 /full/x'), 'xxx');
});
