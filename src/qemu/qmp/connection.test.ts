import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { deferred } from '../../util/deferred.ts';
import type { ProgressDeadline } from './progress-deadline.ts';
import { openQmp, type QmpDeadlines } from './connection.ts';
import type { QmpEvent } from './events.ts';
import { isDeviceMissing, QmpError } from './qmp-error.ts';

const GREETING = { QMP: { version: { qemu: { major: 10, minor: 0, micro: 2 } }, capabilities: ['oob'] } };

/** QEMU's side of the connection. */
class FakeQemu extends Duplex {
  readonly asked: { execute: string; arguments?: unknown; id: number }[] = [];
  /** replies that are sent at once, by command */
  readonly returns = new Map<string, unknown>([['qmp_capabilities', {}]]);

  override _read(): void {
    return undefined;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    for (const line of chunk.toString('utf8').trimEnd().split('\n')) {
      const message = JSON.parse(line) as (typeof this.asked)[number];
      this.asked.push(message);
      if (this.returns.has(message.execute))
        this.send({ return: this.returns.get(message.execute), id: message.id });
    }
    done();
  }

  send(message: unknown): void {
    this.push(`${JSON.stringify(message)}\r\n`);
  }

  idOf(command: string): number | undefined {
    return this.asked.find(({ execute }) => execute === command)?.id;
  }
}

async function open(events: QmpEvent[] = [], patience?: QmpDeadlines) {
  const qemu = new FakeQemu();
  const opening = openQmp(qemu, (event) => events.push(event), patience);
  qemu.send(GREETING);
  return { qemu, qmp: await opening };
}

test('the greeting has the version; capabilities are negotiated first', async () => {
  const { qemu, qmp } = await open();
  assert.deepEqual(qmp.version, [10, 0, 2]);
  assert.deepEqual(
    qemu.asked.map(({ execute }) => execute),
    ['qmp_capabilities'],
  );
});

test('replies are matched to commands by id, in any order', async () => {
  const { qemu, qmp } = await open();
  const [first, second] = [qmp.execute('query-status'), qmp.execute('device_del', { id: 'é, "x"' })];
  assert.deepEqual(qemu.asked.at(-1)?.arguments, { id: 'é, "x"' });
  assert.ok(!('arguments' in (qemu.asked.at(-2) ?? {})));
  qemu.send({ return: {}, id: qemu.idOf('device_del') });
  qemu.send({ return: { status: 'running' }, id: qemu.idOf('query-status') });
  assert.deepEqual(await Promise.all([first, second]), [{ status: 'running' }, undefined]);
});

test('a refusal is an error with the command and QEMU’s reason', async () => {
  const { qemu, qmp } = await open();
  const answer = qmp.execute('device_del', { id: 'none' });
  qemu.send({
    error: { class: 'DeviceNotFound', desc: "Device 'none' not found" },
    id: qemu.idOf('device_del'),
  });
  await assert.rejects(answer, (error: unknown) => {
    assert.ok(error instanceof QmpError);
    assert.equal(error.command, 'device_del');
    assert.ok(isDeviceMissing(error));
    return error.message === "device_del: Device 'none' not found";
  });
});

test('events arrive in order, with their data, also between a command and its reply', async () => {
  const events: QmpEvent[] = [];
  const { qemu, qmp } = await open(events);
  const answer = qmp.execute('cont');
  qemu.send({ event: 'RESUME', timestamp: {} });
  qemu.send({ event: 'SHUTDOWN', data: { guest: true, reason: 'guest-reset' } });
  qemu.send({ return: {}, id: qemu.idOf('cont') });
  await answer;
  assert.deepEqual(events, [
    { event: 'RESUME', data: {} },
    { event: 'SHUTDOWN', data: { reason: 'guest-reset' } },
  ]);
});

test('a reply may arrive in pieces, split even within a character', async () => {
  const { qemu, qmp } = await open();
  const answer = qmp.execute('human-monitor-command', { 'command-line': 'info name' });
  const message = { return: 'größe Ω 🜁', id: qemu.idOf('human-monitor-command') };
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
  for (const byte of bytes) {
    qemu.push(Buffer.from([byte]));
    await turn();
  }
  assert.equal(await answer, 'größe Ω 🜁');
});

test('several messages may arrive in one piece', async () => {
  const events: QmpEvent[] = [];
  const { qemu } = await open(events);
  qemu.push('{"event":"A"}\r\n{"event":"B"}\r\n\r\n{"event":"C"}\r\n');
  await turn();
  assert.deepEqual(
    events.map((one) => one.event === 'OTHER' && one.name),
    ['A', 'B', 'C'],
  );
});

test('a connection that ends rejects pending and later commands', async () => {
  const { qemu, qmp } = await open();
  const waiting = [qmp.execute('stop'), qmp.execute('cont')];
  qemu.destroy();
  for (const [i, name] of ['stop', 'cont'].entries()) {
    await assert.rejects(waiting[i] ?? Promise.resolve(), new RegExp(`^QmpError: ${name}: QEMU ended`));
  }
  await assert.rejects(qmp.execute('quit'), /^QmpError: quit: QEMU has ended/);
});

test('a connection that ends, or fails, before the greeting is an error', async () => {
  for (const error of [undefined, new Error('reset')]) {
    const qemu = new FakeQemu();
    const opening = openQmp(qemu, () => undefined);
    qemu.destroy(error);
    await assert.rejects(opening, /QEMU ended before it was ready/);
  }
});

for (const garbage of ['hello', '[1]', '"text"', 'null', '{"a":']) {
  test(`a line that is no message ends the connection: ${garbage}`, async () => {
    const { qemu, qmp } = await open();
    const answer = qmp.execute('stop');
    qemu.push(`${garbage}\n`);
    await assert.rejects(answer, QmpError);
    assert.ok(qemu.destroyed);
  });
}

test('a reply without a pending command is ignored', async () => {
  const { qemu, qmp } = await open();
  qemu.send({ return: {}, id: 4711 });
  qemu.send({ return: {} });
  qemu.returns.set('query-status', { status: 'paused' });
  assert.deepEqual(await qmp.execute('query-status'), { status: 'paused' });
});

/** Keeps the process running: the timers that watch for a hang do not. */
function keepLoop(): Disposable {
  const timer = setInterval(() => undefined, 60_000);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

const SHORT: ProgressDeadline = { first: 5, interval: 5, most: 60_000 };

test('a QEMU without greeting or reply, and without progress, hangs', async () => {
  using _loop = keepLoop();
  const patience = { readProgress: async () => 'VmRSS: 1 kB', start: SHORT, answer: SHORT };
  const silent = openQmp(new FakeQemu(), () => undefined, patience);
  await assert.rejects(silent, (error: unknown) => error instanceof QmpError && error.hangs);
  const { qmp } = await open([], { ...patience, start: { ...SHORT, first: 60_000 } });
  await assert.rejects(qmp.execute('stop'), (error: unknown) => error instanceof QmpError && error.hangs);
});

test('a command may take as long as QEMU makes progress, up to a limit', async () => {
  using _loop = keepLoop();
  let looks = 0;
  const fifth = deferred<void>();
  const readProgress = async (): Promise<string> => {
    if (++looks === 5) fifth.resolve();
    return `VmRSS: ${looks} kB`;
  };
  const { qemu, qmp } = await open([], { readProgress, start: SHORT, answer: SHORT });
  const answer = qmp.execute('query-status');
  await fifth.promise;
  qemu.send({ return: { status: 'running' }, id: qemu.idOf('query-status') });
  assert.deepEqual(await answer, { status: 'running' });
  const limited = { readProgress, start: SHORT, answer: { ...SHORT, most: 30 } };
  const { qmp: other } = await open([], limited);
  await assert.rejects(
    other.execute('query-status'),
    (error: unknown) => error instanceof QmpError && error.hangs,
  );
});

test('an event before the exit of QEMU is read, also where a command is written after the exit', async (t) => {
  const events: QmpEvent[] = [];
  const lines = [
    GREETING,
    { return: {}, id: 1 },
    { event: 'SHUTDOWN', data: { guest: true, reason: 'guest-reset' } },
  ].map((message) => JSON.stringify(message));
  // a process with one thread: it has closed its files when it is a zombie
  const script = 'echo "$0" >&3; read command <&3; echo "$1" >&3; read go; echo "$2" >&3';
  const child = spawn('sh', ['-c', script, ...lines], { stdio: ['pipe', 'ignore', 'inherit', 'pipe'] });
  const stream = child.stdio[3];
  t.after(() => child.stdin?.destroy());
  assert.ok(stream instanceof Socket);
  const qmp = await openQmp(stream, (event) => events.push(event));
  child.stdin?.write('\n');
  // the event loop reads nothing until the process has exited
  const status = `/proc/${child.pid}/stat`;
  const end = Date.now() + 30_000;
  while (!/\) Z /.test(readFileSync(status, 'utf8'))) assert.ok(Date.now() < end, 'the process did not exit');
  const commands = [qmp.execute('query-status'), qmp.execute('query-status')];
  for (const command of commands) await assert.rejects(command, /QEMU ended before it answered/);
  assert.deepEqual(
    events.map(({ event }) => event),
    ['SHUTDOWN'],
  );
});
