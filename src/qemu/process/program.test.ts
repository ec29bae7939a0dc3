import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findProgram, isOlder, versionProblem, programProblem } from './program.ts';

test('8.2 is the oldest QEMU that is accepted', () => {
  for (const version of [
    [8, 2, 0],
    [8, 2, 1],
    [8, 10, 0],
    [9, 0, 0],
    [10, 0, 2],
    [11, 1, 0],
  ] as const) {
    assert.equal(versionProblem(version), undefined, version.join('.'));
  }
  for (const version of [
    [8, 1, 99],
    [7, 2, 0],
    [0, 0, 0],
  ] as const) {
    const why = versionProblem(version) ?? '';
    assert.ok(why.includes(version.join('.')) && why.includes('8.2'), why);
  }
});

test('versions are compared part by part', () => {
  const older = [
    [9, 9, 9],
    [10, 0, 3],
  ] as const;
  const others = [
    [10, 0, 4],
    [10, 0, 10],
    [10, 1, 0],
    [11, 0, 0],
  ] as const;
  for (const version of older) assert.ok(isOlder(version, [10, 0, 4]), version.join('.'));
  for (const version of others) assert.ok(!isOlder(version, [10, 0, 4]), version.join('.'));
});

test('an executable program is found on the PATH, unless an override is given', () => {
  const folder = mkdtempSync(join(tmpdir(), 'path-'));
  const path = process.env['PATH'];
  try {
    const program = join(folder, 'qemu');
    writeFileSync(program, '');
    chmodSync(program, 0o755);
    process.env['PATH'] = `/nowhere:${folder}`;
    assert.equal(findProgram('qemu'), program);
    assert.equal(findProgram('qemu', '/nowhere/qemu'), undefined);
    assert.equal(findProgram('other', program), program);
    assert.equal(findProgram('other'), undefined);
    process.env['PATH'] = '';
    assert.equal(findProgram('qemu'), undefined);
  } finally {
    process.env['PATH'] = path;
    rmSync(folder, { recursive: true });
  }
});

test('the reason why a file is no program', () => {
  const folder = mkdtempSync(join(tmpdir(), 'binary-'));
  try {
    const file = join(folder, 'text');
    writeFileSync(file, '');
    assert.equal(programProblem(file), 'is not executable (permission denied)');
    assert.equal(programProblem(folder), 'is not a file');
    assert.equal(programProblem(join(folder, 'none')), 'no such file or directory');
    assert.equal(programProblem(process.execPath), undefined);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
