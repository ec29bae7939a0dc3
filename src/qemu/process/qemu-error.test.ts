import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startError } from './qemu-error.ts';

test('a refused part is named by its node name or id, with QEMU’s reason', () => {
  const props = JSON.stringify({ driver: 'file', 'node-name': 'n_disk0', filename: '/a: {b}' });
  const disk = startError(`-blockdev ${props}: Could not open '/a: {b}': No such file or directory`);
  assert.equal(disk.part, 'n_disk0');
  assert.equal(disk.message, "Could not open '/a: {b}': No such file or directory");
  const device = startError('-device {"driver":"x","id":"n_net1"}: PCI: slot 5 is in use');
  assert.equal(device.part, 'n_net1');
  assert.equal(device.message, 'PCI: slot 5 is in use');
  assert.equal(startError('-object {"qom-type":"x","id":"ram"}: cannot\nallocate').part, 'ram');
});

test('any other output is the message unchanged', () => {
  for (const words of [
    '',
    'exit code 1',
    'could not load kernel',
    '-device virtio-x: unknown',
    '-device {"a":}: broken JSON',
  ]) {
    const error = startError(words);
    assert.equal(error.part, undefined);
    assert.ok(error.message === words || words.endsWith(error.message), error.message);
  }
  assert.equal(startError('-device {"driver":"x"}: has no id').part, undefined);
});
