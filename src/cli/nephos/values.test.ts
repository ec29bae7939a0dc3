import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { UsageError } from '../flags.ts';
import { readRunRequest } from './read-run.ts';
import { parseLine } from './parse.ts';
import { findVerb } from './table/verbs.ts';
import {
  readLabels,
  readPort,
  readSize,
  readTime,
  readVariableFiles,
  readVariables,
  readVolume,
} from './values.ts';

for (const [text, bytes] of [
  ['512M', 2 ** 29],
  ['512m', 2 ** 29],
  ['1.5G', 1.5 * 2 ** 30],
  ['2GiB', 2 ** 31],
  ['1024', 1024],
  ['1kb', 1024],
] as const)
  test(`the size ${text} has ${bytes} bytes`, () => assert.equal(readSize('memory', text), bytes));

for (const text of ['', '0', '-1', '1X', 'M', '9999999T', '1e3'])
  test(`the size "${text}" is refused`, () => assert.throws(() => readSize('memory', text), UsageError));

for (const [text, ms] of [
  ['30', 30_000],
  ['1.5s', 1500],
  ['250ms', 250],
  ['5m', 300_000],
  ['1h', 3_600_000],
  ['0', 0],
] as const)
  test(`the time ${text} has ${ms} ms`, () => assert.equal(readTime('timeout', text), ms));

for (const text of ['', 's', '-5', '5 m', '25d', '1w'])
  test(`the time "${text}" is refused`, () => assert.throws(() => readTime('timeout', text), UsageError));

test('variables without a value are those of the host, and absent ones are left out', () => {
  const host = { HOME: '/root', EMPTY: '' };
  assert.deepEqual(readVariables(['A=1', 'HOME', 'NONE', 'EMPTY', 'B=x=y', 'C='], host), {
    A: '1',
    HOME: '/root',
    EMPTY: '',
    B: 'x=y',
    C: '',
  });
  assert.deepEqual(Object.entries(readVariables(['__proto__=x'], host)), [['__proto__', 'x']]);
  assert.throws(() => readVariables(['=x'], host), UsageError);
});

test('a file of variables has comments and empty lines', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-test-'));
  try {
    const path = join(folder, 'a, b.env');
    writeFileSync(path, '# comment\nA=1\r\n\n  # more\nB=x # y\n');
    assert.deepEqual(await readVariableFiles([path]), ['A=1', 'B=x # y']);
    await assert.rejects(readVariableFiles([join(folder, 'none')]), /none: no such file/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('labels have a value, or none', () => {
  assert.deepEqual(readLabels(['a', 'b=1=2']), { a: '', b: '1=2' });
  assert.throws(() => readLabels(['=1']), UsageError);
});

test('a volume has a path of the host, one of the guest and a mode', () => {
  assert.deepEqual(readVolume('src:/src', '/home/me'), {
    host: '/home/me/src',
    guest: '/src',
    isReadOnly: false,
  });
  assert.deepEqual(readVolume('/a b,c:/d:ro'), { host: '/a b,c', guest: '/d', isReadOnly: true });
  for (const text of ['/a', '/a:b', ':/b', '/a:/b:xx', '/a:/'])
    assert.throws(() => readVolume(text), UsageError, text);
});

test('a port has an address, a port of the host, one of the guest and a protocol', () => {
  const shown = (text: string): string => {
    const { address, hostPort, guestPort, protocol } = readPort(text);
    return `${address} ${hostPort} ${guestPort} ${protocol}`;
  };
  assert.equal(shown('8080:80'), '127.0.0.1 8080 80 tcp');
  assert.equal(shown('80'), '127.0.0.1 0 80 tcp');
  assert.equal(shown('0:80'), '127.0.0.1 0 80 tcp');
  assert.equal(shown('0.0.0.0:53:53/udp'), '0.0.0.0 53 53 udp');
  assert.equal(shown('[::1]:8080:80'), '::1 8080 80 tcp');
  for (const text of ['', 'x', '80:0', '70000:80', '80:70000', '1:2:3', '80:80/sctp', '-1:80'])
    assert.throws(() => readPort(text), UsageError, text);
});

test('a command line of run becomes a request', async () => {
  const run = findVerb('run');
  assert.ok(run);
  const line = [
    '-it',
    '--rm',
    '-e',
    'A=1',
    '-m',
    '1g',
    '--cpus=2',
    '--timeout',
    '5m',
    '--kernel',
    'k',
    'x',
    'true',
  ];
  const request = await readRunRequest(parseLine(run, line));
  assert.equal(request.image, 'x');
  assert.deepEqual(
    [request.isInteractive, request.hasTerminal, request.removes, request.isDetached],
    [true, true, true, false],
  );
  assert.deepEqual([request.memory, request.cpus, request.timeoutMs], [2 ** 30, 2, 300_000]);
  assert.deepEqual([request.env, request.command], [{ A: '1' }, ['true']]);
  assert.equal(request.kernel, join(process.cwd(), 'k'));
  assert.ok(!('name' in request));
  await assert.rejects(readRunRequest(parseLine(run, [])), UsageError);
  await assert.rejects(readRunRequest(parseLine(run, ['--network', 'none', '-p', '80', 'x'])), UsageError);
  await assert.rejects(readRunRequest(parseLine(run, ['--cpus', '0', 'x'])), UsageError);
});
