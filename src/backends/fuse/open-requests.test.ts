// Requests that a file system answers later: while the device runs, is stopped, is reset, or is another one.
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { allocate } from '../../native/memory.ts';
import { deferred, type Deferred } from '../../util/deferred.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';
import type { Result, Entry, FileSystem } from './file-system.ts';
import { Opcode } from './opcodes.ts';
import { nameBytes, startDriver, u32s, u64s, type TestDriver, type TestReply } from './test-driver.ts';
import { ATTRIBUTES, filesWith } from './test-files.ts';

const { EIO, ENOENT } = constants.errno;

const LOOKUP = { opcode: Opcode.Lookup, body: [nameBytes('a')] };
const READ = { opcode: Opcode.Read, node: 7, body: [u64s(9, 0), u32s(5, 0), u64s(0), u32s(0, 0)] };
const WRITE = { opcode: Opcode.Write, node: 7, body: [...READ.body, Buffer.from('abcde')] };

function started(methods: Partial<FileSystem>): TestDriver {
  const driver = startDriver({ files: filesWith(methods) });
  driver.init();
  return driver;
}

/** A lookup that is answered by the test. */
function lookupLater(): { answer: Deferred<Result<Entry>>; methods: Partial<FileSystem> } {
  const answer = deferred<Result<Entry>>();
  return { answer, methods: { lookup: () => answer.promise } };
}

const ENTRY: Entry = { node: 5, attributes: ATTRIBUTES };

/** Callbacks of settled promises have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function textOf({ payload }: TestReply): string {
  return Buffer.from(payload.buffer).toString();
}

/** Writes bytes into the guest's buffers, as `preadv` does. */
function fill(into: Parts, text: string): number {
  const block = allocate(4096);
  new Uint8Array(block.view.buffer).set(Buffer.from(text));
  into.copyIn(block.address, Math.min(into.bytes, text.length));
  block.free();
  return text.length;
}

/** Reads the data of a WRITE, as `pwritev` does. */
function dataOf(from: Parts): string {
  const block = allocate(4096);
  from.copyOut(block.address, from.bytes);
  const text = Buffer.from(new Uint8Array(block.view.buffer, 0, from.bytes)).toString();
  block.free();
  return text;
}

test('a request that is answered later does not delay others, and interrupts the guest', async () => {
  const { answer, methods } = lookupLater();
  using driver = started({ ...methods, getattr: () => ENOENT });
  const unique = driver.submit(LOOKUP);
  assert.deepEqual(driver.run(), []);
  assert.equal(driver.call({ opcode: Opcode.Getattr, body: [u64s(0, 0)] }).error, ENOENT);
  const before = driver.interrupts;
  answer.resolve(ENTRY);
  await settled();
  const [reply] = driver.collect();
  assert.deepEqual([reply?.unique, reply?.error, reply?.payload.getUint32(0, true)], [unique, 0, 5]);
  assert.equal(driver.interrupts, before + 1);
});

test('a promise that is rejected is EIO, and is reported', async () => {
  const { answer, methods } = lookupLater();
  const warnings: string[] = [];
  using driver = startDriver({ files: filesWith(methods), warn: (line) => warnings.push(line) });
  driver.init();
  driver.submit(LOOKUP);
  driver.run();
  answer.reject(new Error('a fault'));
  await settled();
  assert.deepEqual(
    driver.collect().map(({ error }) => error),
    [EIO],
  );
  assert.deepEqual(warnings, ['a request failed: a fault']);
});

test('an answer while the device is stopped reaches the guest when it continues', async () => {
  const { answer, methods } = lookupLater();
  using driver = started(methods);
  const unique = driver.submit(LOOKUP);
  driver.run();
  driver.stop();
  answer.resolve(ENTRY);
  await settled();
  assert.deepEqual(driver.collect(), [], 'no buffer is accessed');
  driver.start({ resumed: true });
  assert.deepEqual(
    driver.run().map((reply) => [reply.unique, reply.error]),
    [[unique, 0]],
  );
});

test('an answer after the device was stopped and has continued reaches the guest', async () => {
  const { answer, methods } = lookupLater();
  using driver = started(methods);
  const unique = driver.submit(LOOKUP);
  driver.run();
  driver.stop();
  driver.start({ resumed: true });
  assert.deepEqual(driver.run(), []);
  answer.resolve(ENTRY);
  await settled();
  assert.deepEqual(
    driver.collect().map((reply) => reply.unique),
    [unique],
  );
});

test('a READ that is answered while the device is stopped is repeated', async () => {
  const answers = [deferred<number>(), deferred<number>()];
  let calls = 0;
  let buffers: Parts | undefined;
  using driver = started({
    read: (_range, into) => {
      buffers = into;
      return answers[calls++]?.promise ?? -EIO;
    },
  });
  driver.submit(READ);
  driver.run();
  driver.stop();
  assert.equal(buffers?.bytes, 0, 'there are no buffers');
  answers[0]?.resolve(5);
  await settled();
  driver.start({ resumed: true });
  assert.deepEqual([calls, buffers?.bytes], [2, 5]);
  answers[1]?.resolve(fill(buffers, 'abcde'));
  await settled();
  assert.deepEqual(driver.collect().map(textOf), ['abcde']);
});

test('an answer for a driver that was reset is dropped', async () => {
  const { answer, methods } = lookupLater();
  using driver = started(methods);
  driver.submit(LOOKUP);
  driver.run();
  driver.stop();
  driver.start({ resumed: false });
  driver.init();
  answer.resolve(ENTRY);
  await settled();
  assert.deepEqual(driver.collect(), []);
  assert.equal(driver.call({ opcode: 4096 }).error, constants.errno.ENOSYS);
});

test('another device continues with the state: what was negotiated, and open requests', async () => {
  const first = deferred<number>();
  const { answer, methods } = lookupLater();
  using source = started({ ...methods, write: () => first.promise, save: () => Uint8Array.of(1, 2, 3) });
  const [looked, written] = [source.submit(LOOKUP), source.submit(WRITE)];
  source.run();
  source.stop();
  answer.resolve(ENTRY);
  await settled();
  const state = source.device.save();

  const loaded: unknown[] = [];
  using target = startDriver({
    files: filesWith({
      load: (bytes) => void loaded.push([...bytes]),
      write: (_caller, { length }, from) => {
        loaded.push(dataOf(from));
        return length;
      },
      getattr: () => ENOENT,
    }),
  });
  target.stop();
  target.device.load(state);
  target.takeOver(source);
  target.start({ resumed: true });
  const replies = target.run();
  assert.deepEqual(
    replies.map(({ unique, error }) => [unique, error]),
    [
      [looked, 0],
      [written, 0],
    ],
  );
  assert.deepEqual(loaded, [[1, 2, 3], 'abcde']);
  assert.equal(
    target.call({ opcode: Opcode.Getattr, body: [u64s(0, 0)] }).error,
    ENOENT,
    'no INIT is needed',
  );
  first.resolve(5);
});

test('an invalid state changes nothing', () => {
  using driver = started({
    load: () => assert.fail('the file system sees no invalid state'),
    getattr: () => ENOENT,
  });
  const state = driver.device.save();
  driver.stop();
  const changed = (at: number, value: number): Uint8Array =>
    state.map((byte, i) => (i === at ? value : byte));
  for (const bad of [
    state.subarray(1),
    state.subarray(0, 20),
    changed(4, 2),
    changed(24, 9),
    new Uint8Array(),
  ])
    assert.throws(() => driver.device.load(bad), /state/);
  driver.start({ resumed: true });
  assert.equal(driver.call({ opcode: Opcode.Getattr, body: [u64s(0, 0)] }).error, ENOENT);
});
