import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createVm } from '../../run/vm-directory/vm-directories.ts';
import { findProgram } from '../../qemu/process/program.ts';
import { hostBlock, shellWord, sshSettings } from './ssh-settings.ts';
import { testRequest } from './test-request.ts';

test('words of a shell are quoted', () => {
  for (const word of ['a b', "it's", '$HOME', '', 'a"b', '%h', '`id`'])
    assert.equal(execFileSync('/bin/sh', ['-c', `printf %s ${shellWord(word)}`], { encoding: 'utf8' }), word);
});

const skip = findProgram('ssh') === undefined ? 'ssh is not installed' : false;
test('ssh reads the settings, and the command of its connection reaches the program', { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "nephos it's 100% "));
  try {
    using vm = await createVm({ request: testRequest('web'), access: 'vsock' }, join(folder, 'vms'));
    writeFileSync(vm.paths.key, 'key');
    const script = join(folder, 'show.js');
    writeFileSync(
      script,
      'console.log(JSON.stringify([process.env.XDG_STATE_HOME, ...process.argv.slice(2)]))',
    );
    const program = { command: [process.execPath, script], env: { XDG_STATE_HOME: folder } };
    const settings = sshSettings({ record: vm.record, paths: vm.paths, isOwned: true }, 'me', program);
    const config = join(folder, 'config');
    writeFileSync(config, hostBlock('web', settings));
    const shown = execFileSync('ssh', ['-G', '-F', config, 'web'], { encoding: 'utf8' });
    const value = (name: string): string => new RegExp(`^${name} (.*)$`, 'm').exec(shown)?.[1] ?? '';
    assert.equal(value('user'), 'me');
    assert.equal(value('stricthostkeychecking'), 'false');
    // ssh expands the tokens later
    assert.equal(value('identityfile').replaceAll('%%', '%'), vm.paths.key);
    const command = value('proxycommand').replaceAll('%%', '%');
    const output = execFileSync('/bin/sh', ['-c', command], { encoding: 'utf8' });
    assert.deepEqual(JSON.parse(output), [folder, 'connect', 'web']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
