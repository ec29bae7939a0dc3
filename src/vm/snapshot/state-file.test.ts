import assert from 'node:assert/strict';
import { fstatSync, readFileSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { openStateFile } from './state-file.ts';

test('the file with the state is open for reading only, and is written while QEMU starts', async () => {
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
  using file = await openStateFile();
  const start = async (): Promise<number> => fstatSync(file.fd).size;
  assert.equal(await file.writeWhile(() => bytes, start), 0);
  assert.deepEqual(readFileSync(`/proc/self/fd/${file.fd}`), bytes);
  assert.throws(() => writeSync(file.fd, 'x'), /EBADF/);
});

test('a failed start is reported after the file was written', async () => {
  using file = await openStateFile();
  const failing = (): Promise<never> => Promise.reject(new Error('no QEMU'));
  await assert.rejects(
    file.writeWhile(() => Buffer.from('state'), failing),
    /no QEMU/,
  );
  assert.equal(readFileSync(`/proc/self/fd/${file.fd}`, 'utf8'), 'state');
});

test('both descriptors of the file are closed', async () => {
  const file = await openStateFile();
  assert.equal(fstatSync(file.fd).size, 0);
  file[Symbol.dispose]();
  assert.throws(() => fstatSync(file.fd), /EBADF/);
});
