import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createOutputLog, olderLog } from './output-log.ts';

const folder = mkdtempSync(join(tmpdir(), 'log-'));
after(() => rmSync(folder, { recursive: true }));

test('a log keeps the last bytes in two files of bounded length, each line whole', async () => {
  const [path, maximum] = [join(folder, 'output.jsonl'), 10_000];
  const log = createOutputLog(path, maximum);
  const stream = log.stream('stdout');
  for (let i = 0; i < 1000; i++) if (!stream.write(`line ${i}\n`)) await once(stream, 'drain');
  stream.end();
  await once(stream, 'finish');
  await log[Symbol.asyncDispose]();
  for (const one of [path, olderLog(path)]) assert.ok(statSync(one).size <= maximum);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const lines = [olderLog(path), path]
    .flatMap((one) => readFileSync(one, 'utf8').trim().split('\n'))
    .map((line): unknown => JSON.parse(line))
    .map((part) => (typeof part === 'object' && part !== null && 'text' in part ? part.text : undefined));
  const first = 1000 - lines.length;
  assert.deepEqual(
    lines,
    lines.map((_, i) => `line ${first + i}\n`),
  );
});

test('bytes that are not UTF-8 are base64, in parts of bounded length', async () => {
  const path = join(folder, 'binary.jsonl');
  const log = createOutputLog(path);
  const stream = log.stream('stderr');
  const bytes = Buffer.alloc(200_000, 0xff);
  stream.end(bytes);
  await once(stream, 'finish');
  await log[Symbol.asyncDispose]();
  const parts = readFileSync(path, 'utf8').trim().split('\n');
  const decoded = parts.map((line) => {
    const part: { readonly base64: string } = JSON.parse(line);
    return Buffer.from(part.base64, 'base64');
  });
  assert.deepEqual(Buffer.concat(decoded), bytes);
  assert.ok(parts.length > 1);
});

test('a log that cannot be opened takes all bytes; one that can be opened later has the rest', async () => {
  const parent = join(folder, 'later');
  const path = join(parent, 'output.jsonl');
  const log = createOutputLog(path);
  const stream = log.stream('stdout');
  await new Promise<void>((done) => {
    stream.write('lost', () => done());
  });
  mkdirSync(parent);
  await new Promise<void>((done) => {
    stream.end('kept', done);
  });
  await log[Symbol.asyncDispose]();
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  assert.deepEqual(
    lines.map((line) => Object(JSON.parse(line)).text),
    ['kept'],
  );
});
