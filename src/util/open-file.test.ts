import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { codeOf, reasonOf } from './errno.ts';
import { openFile, OUTPUT_FLAGS, OUTPUT_KINDS, readText } from './open-file.ts';
import { beforeDeadline, hasHangingCalls, shortenPathDeadlines } from './path-deadline.ts';

const folder = mkdtempSync(join(tmpdir(), 'nephos-open-'));
after(() => rmSync(folder, { recursive: true }));

function place(name: string): string {
  return join(folder, name);
}

function makeFifo(name: string): string {
  execFileSync('mkfifo', ['--', place(name)]);
  return place(name);
}

const output = { flags: OUTPUT_FLAGS, mode: 0o600, kinds: OUTPUT_KINDS } as const;

test('a FIFO where a regular file is expected is refused at once, for reading and for writing', async () => {
  const path = makeFifo('input, "x" ü');
  for (const flags of [constants.O_RDONLY, constants.O_WRONLY, constants.O_RDWR]) {
    await assert.rejects(openFile(path, { flags }), (error) => {
      assert.equal(reasonOf(error), 'is a FIFO: it must be a regular file');
      assert.ok(String(error).includes(path));
      return codeOf(error) === 'EINVAL';
    });
  }
  await assert.rejects(readText(path), /is a FIFO/);
});

test('a FIFO for output is opened as soon as it has a reader', async () => {
  const path = makeFifo('late reader');
  const opening = openFile(path, output);
  // an open for reading that does not wait lets the open for writing through
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    await using file = await opening;
    await file.write('told');
    const told = Buffer.alloc(16);
    assert.equal(told.toString('utf8', 0, readSync(reader, told)), 'told');
  } finally {
    closeSync(reader);
  }
});

test('a FIFO for output without a reader is refused after a deadline, and the wait can be ended', async () => {
  const path = makeFifo('no reader');
  await assert.rejects(openFile(path, { ...output, readerDeadlineMs: 50 }), (error) => {
    assert.equal(reasonOf(error), 'is a FIFO that no process reads: start its reader first');
    return codeOf(error) === 'ENXIO';
  });
  const abort = new AbortController();
  const opening = openFile(path, { ...output, readerDeadlineMs: 60_000, signal: abort.signal });
  abort.abort();
  await assert.rejects(opening);
});

test('other kinds than the accepted ones are refused and stay as they are', async () => {
  const path = place('file');
  writeFileSync(path, 'content');
  await assert.rejects(
    openFile(path, { ...output, kinds: ['fifo'] }),
    /is a regular file: it must be a FIFO/,
  );
  assert.equal(readFileSync(path, 'utf8'), 'content');
  await assert.rejects(openFile('/dev/null'), /is a character device: it must be a regular file/);
  await assert.rejects(openFile(folder), { code: 'EISDIR' });
  await assert.rejects(openFile(folder, output), { code: 'EISDIR' });
  await assert.rejects(openFile(place('none')), { code: 'ENOENT' });
  await assert.rejects(openFile(place('none/file'), output), { code: 'ENOENT' });
  const link = place('link');
  symlinkSync(path, link);
  await assert.rejects(openFile(link, { flags: constants.O_RDONLY | constants.O_NOFOLLOW }), {
    code: 'ELOOP',
  });
  await using file = await openFile(path, output);
  assert.equal((await file.stat()).size, 0);
});

test('a socket is refused', async () => {
  const path = place('socket');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  try {
    await assert.rejects(
      openFile(path, output),
      /is a socket: it must be a regular file or a character device or a FIFO/,
    );
  } finally {
    server.close();
  }
});

test('a file larger than the limit is not read', async () => {
  const path = place('long');
  writeFileSync(path, 'x'.repeat(100));
  assert.equal(await readText(path, { limit: 100 }), 'x'.repeat(100));
  await assert.rejects(readText(path, { limit: 99 }), /is larger than 99 bytes/);
});

test('a hung file system is named after the deadline, and a late result is reported', async () => {
  let answer: (value: string) => void = () => undefined;
  const call = (): Promise<string> => new Promise((resolve) => (answer = resolve));
  const late: string[] = [];
  const asked = beforeDeadline('/mnt/dead, one', call, {
    deadlineMs: 20,
    onLate: (value) => void late.push(value),
  });
  await assert.rejects(asked, (error) => {
    assert.equal(reasonOf(error), 'the file system does not answer within 0.02 s');
    assert.ok(String(error).includes('/mnt/dead, one'));
    return codeOf(error) === 'ETIMEDOUT';
  });
  assert.equal(hasHangingCalls(), true);
  let calls = 0;
  const count = async (): Promise<number> => (calls += 1);
  await assert.rejects(beforeDeadline('/mnt/dead, one', count), /still does not answer/);
  assert.equal(calls, 0);
  assert.equal(await beforeDeadline('/mnt/fine', count), 1);
  answer('late');
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(late, ['late']);
  assert.equal(hasHangingCalls(), false);
  assert.equal(await beforeDeadline('/mnt/dead, one', count), 2);
});

test('calls are not started any more where they would take the last threads', async () => {
  const answers: (() => void)[] = [];
  const call = (): Promise<void> => new Promise((resolve) => answers.push(resolve));
  for (const name of ['/a', '/b', '/c'])
    await assert.rejects(beforeDeadline(name, call, { deadlineMs: 1 }), { code: 'ETIMEDOUT' });
  await assert.rejects(
    beforeDeadline('/d', call),
    /the file system of \/a and \/b and \/c still does not answer/,
  );
  assert.equal(answers.length, 3);
  for (const answer of answers) answer();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(hasHangingCalls(), false);
});

test('a call on a file system is cancelled one second after the VM shuts down', async () => {
  let answer: () => void = () => undefined;
  const call = (): Promise<void> => new Promise((resolve) => (answer = resolve));
  const asked = beforeDeadline('/mnt/dead', call, { deadlineMs: 3_600_000 });
  shortenPathDeadlines();
  await assert.rejects(asked, /the file system does not answer within 1 s/);
  answer();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(hasHangingCalls(), false);
});
