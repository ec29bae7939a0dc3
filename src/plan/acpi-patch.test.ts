import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import { acpiPatchCode, CODE_ADDRESS, JUMP_BYTES, jumpToCode, planAcpiPatch } from './acpi-patch.ts';

function patchOf(more: object, isEmulated = true) {
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, ...more });
  return planAcpiPatch(config, { numa: [], isEmulated });
}

test('SRAT is dropped if no RAM can be added and there are no NUMA nodes', () => {
  assert.deepEqual(patchOf({}), { dropsSrat: true, processors: undefined });
  assert.equal(patchOf({ memory: { size: 2 ** 29, hotplug_size: 2 ** 29 } }), undefined);
  const zone = { id: 'z', size: 2 ** 29, hotplug_size: 2 ** 29 };
  assert.equal(patchOf({ memory: { size: 0, hotplug_method: 'virtio-mem', zones: [zone] } }), undefined);
  const { config } = decodeVmConfig({ kernel: { path: '/k' } });
  const numa = [{ kind: 'node', node: 0, cpus: [], memory: 'ram' }] as const;
  assert.equal(planAcpiPatch(config, { numa, isEmulated: true }), undefined);
});

test('absent processors are marked under emulation alone', () => {
  const cpus = { boot_vcpus: 1, max_vcpus: 4 };
  assert.deepEqual(patchOf({ cpus }), { dropsSrat: true, processors: 4 });
  assert.deepEqual(patchOf({ cpus }, false), { dropsSrat: true, processors: undefined });
});

test('the kernel enters the code, which puts the first bytes of the kernel back and enters it', () => {
  const entry = 0x100_0a30;
  const jump = jumpToCode(entry);
  assert.equal(jump.length, JUMP_BYTES);
  assert.equal(jump.readUInt8(0), 0xe9);
  assert.equal(entry + JUMP_BYTES + jump.readInt32LE(1), CODE_ADDRESS);
  const original = Buffer.from([1, 2, 3, 4, 5]);
  for (const patch of [
    { dropsSrat: true, processors: 254 },
    { dropsSrat: false, processors: 2 },
    { dropsSrat: true, processors: undefined },
  ]) {
    const code = acpiPatchCode(patch, entry, original);
    const end = code.subarray(-24).toString('hex');
    assert.equal(end, 'c705300a000101020304c605340a000105b8300a0001ffe0');
    assert.ok(code.length < 1024);
  }
});
