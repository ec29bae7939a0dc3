import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { finished } from 'node:stream/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createOutputLog, olderLog } from '../../run/owner/output-log.ts';
import { LineJoiner } from './output-lines.ts';
import { decodePart, readParts, type DecodedPart, type ReadOptions } from './output-parts.ts';
import { splitAtEscape } from './console-escape.ts';

async function inFolder(act: (log: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-test-'));
  try {
    await act(join(folder, 'output.jsonl'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function line(text: string, stream = 'stdout'): string {
  return `${JSON.stringify({ time: '2026-01-01T00:00:00.000Z', stream, text })}\n`;
}

async function textOf(path: string, options?: ReadOptions): Promise<string> {
  let text = '';
  for await (const { bytes } of readParts(path, options)) text += bytes.toString();
  return text;
}

test('a log is read as it was written, with its older file first', () =>
  inFolder(async (path) => {
    const log = createOutputLog(path, 200);
    const stdout = log.stream('stdout');
    const parts = ['one\n', 'é\n', Buffer.from([0xff, 0x0a]), 'four\n'];
    for (const part of parts) stdout.write(part);
    stdout.end();
    await finished(stdout);
    await log[Symbol.asyncDispose]();
    const read: Buffer[] = [];
    for await (const { bytes, stream } of readParts(path)) {
      assert.equal(stream, 'stdout');
      read.push(bytes);
    }
    const all = Buffer.concat(parts.map((part) => Buffer.from(part)));
    assert.ok(read.length > 1);
    assert.ok(all.includes(Buffer.concat(read)));
    assert.ok(Buffer.concat(read).toString('latin1').endsWith('four\n'));
  }));

test('a log is followed across its rotation until it is closed', () =>
  inFolder(async (path) => {
    writeFileSync(path, line('a') + line('b').slice(0, 10));
    const steps = [
      () => appendFileSync(path, line('b').slice(10)),
      () => {
        renameSync(path, olderLog(path));
        writeFileSync(path, line('c'));
      },
      () => appendFileSync(path, line('d')),
    ];
    const isOpen = (): Promise<boolean> => {
      const step = steps.shift();
      step?.();
      return Promise.resolve(step !== undefined);
    };
    let caughtUp = 0;
    assert.equal(await textOf(path, { isOpen, onCaughtUp: () => caughtUp++ }), 'abcd');
    assert.equal(caughtUp, 1);
  }));

test('lines that are no parts are left out', () => {
  for (const text of ['', '{', 'null', '1', '{"time":"x","stream":"stdin"}'])
    assert.equal(decodePart(text), undefined, text);
  assert.equal(decodePart('{"time":"x","stream":"stderr","base64":"/w=="}')?.bytes[0], 0xff);
});

test('lines of one stream are not broken by the other', () => {
  const joiner = new LineJoiner();
  const part = (time: string, stream: DecodedPart['stream'], text: string): DecodedPart => ({
    time,
    stream,
    bytes: Buffer.from(text),
  });
  const shown = (parts: readonly DecodedPart[]): string[] =>
    parts.map(({ time, stream, bytes }) => `${time} ${stream} ${bytes.toString()}`);
  assert.deepEqual(shown(joiner.take(part('1', 'stdout', 'a'))), []);
  assert.deepEqual(shown(joiner.take(part('2', 'stderr', 'x\ny'))), ['2 stderr x\n']);
  assert.deepEqual(shown(joiner.take(part('3', 'stdout', 'b\nc\nd'))), ['1 stdout ab\n', '3 stdout c\n']);
  assert.deepEqual(shown(joiner.end()), ['2 stderr y', '3 stdout d']);
  assert.deepEqual(joiner.end(), []);
});

test('Ctrl-] ends a console; input before it is sent', () => {
  assert.deepEqual(splitAtEscape(Buffer.from('ab')), { before: Buffer.from('ab'), isEscape: false });
  assert.deepEqual(splitAtEscape(Buffer.from('ab\u{1d}c')), { before: Buffer.from('ab'), isEscape: true });
});
