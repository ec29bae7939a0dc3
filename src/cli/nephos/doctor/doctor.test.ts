import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { showChecks } from '../verbs/doctor.ts';
import { missing, ok, warning } from './check.ts';
import { checkAccelerator, checkFolder, checkTun } from './host-checks.ts';
import { checkNode, checkQemu, checkTools } from './program-checks.ts';

test('an old Node is reported with the version to install', () => {
  assert.equal(checkNode('20.19.0').result, 'ok');
  assert.equal(checkNode('22.1.0').result, 'ok');
  for (const version of ['18.20.1', '20.18.9'])
    assert.deepEqual(
      checkNode(version),
      missing('Node', `${version} is too old`, 'install Node 20.19 or newer'),
    );
});

test('a QEMU that is absent, too old or broken is reported', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-test-'));
  try {
    const path = join(folder, 'qemu');
    const check = async (script?: string) => {
      if (script !== undefined) writeFileSync(path, `#!/bin/sh\n${script}\n`);
      if (script !== undefined) chmodSync(path, 0o755);
      const [found] = await checkQemu({ NEPHOS_QEMU: path });
      return found;
    };
    assert.match((await check())?.found ?? '', /no such file/);
    assert.match((await check('echo "QEMU emulator version 7.2.1"'))?.found ?? '', /7\.2\.1 is too old/);
    assert.match((await check('exit 1'))?.found ?? '', /qemu: Command failed/);
    const good = await check('echo "QEMU emulator version 10.0.2 (Debian)"; echo user');
    assert.deepEqual(good, ok('QEMU', `${path}, version 10.0.2`));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('absent programs are missing if runs need them, else a note', () => {
  const results = checkTools(() => undefined).map(({ subject, result }) => `${subject} ${result}`);
  assert.ok(results.includes('tar2sqfs missing'));
  assert.ok(results.includes('ssh warning'));
  assert.ok(checkTools((name) => `/bin/${name}`).every(({ result }) => result === 'ok'));
});

test('a device or folder that cannot be used has a cure', () => {
  assert.equal(checkTun('/dev/no/such').result, 'warning');
  assert.equal(checkAccelerator({ NEPHOS_ACCEL: 'xen' }).result, 'missing');
  assert.equal(checkAccelerator({ NEPHOS_ACCEL: 'tcg' }).cure, 'unset NEPHOS_ACCEL');
  assert.equal(checkFolder('cache', join(tmpdir(), 'no/such/folder'), 'X').result, 'ok');
  assert.deepEqual(
    checkFolder('state', '/dev/null/nephos', 'XDG_STATE_HOME').cure,
    'set XDG_STATE_HOME to a directory of yours',
  );
});

test('the checks are shown with their cures and the number of problems', () => {
  const checks = [ok('A', 'fine'), warning('B', 'slow', 'do b'), missing('C', 'absent', 'do c')];
  assert.equal(
    showChecks(checks),
    [
      'ok       A: fine',
      'note     B: slow',
      '         -> do b',
      'MISSING  C: absent',
      '         -> do c',
      '',
      'nephos run needs 1 of these first.',
      '',
    ].join('\n'),
  );
  assert.match(showChecks(checks.slice(0, 2)), /\nnephos run works on this machine\.\n$/);
});
