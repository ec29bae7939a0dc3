import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withRoms } from './device-state.ts';

const PAGE = 4096;
const STREAM = Buffer.from('QEVM\0\0\0\x03the devices', 'latin1');

/** Reads a stream as QEMU does: a value at a time. */
function reader(bytes: Buffer) {
  let at = 0;
  const take = (length: number): Buffer => bytes.subarray(at, (at += length));
  return {
    take,
    u8: (): number => take(1).readUInt8(),
    u32: (): number => take(4).readUInt32BE(),
    u64: (): number => Number(take(8).readBigUInt64BE()),
    text: (): string => take(take(1).readUInt8()).toString('latin1'),
    rest: (): string => bytes.subarray(at).toString('latin1'),
  };
}

test('QEMU’s own memory is in front of the devices, as a section of RAM', () => {
  const roms = [
    { name: 'pc.bios', bytes: Buffer.concat([Buffer.alloc(PAGE, 1), Buffer.alloc(PAGE, 2)]) },
    { name: '/rom@etc/acpi/tables', bytes: Buffer.alloc(PAGE, 3) },
  ];
  const stream = reader(withRoms(STREAM, roms));
  assert.equal(stream.take(8).toString('latin1'), 'QEVM\0\0\0\x03');

  // the sizes of the blocks, as QEMU's ram_save_setup writes them
  assert.equal(stream.u8(), 1);
  const section = stream.u32();
  assert.deepEqual([stream.text(), stream.u32(), stream.u32()], ['ram', 0, 4]);
  assert.equal(stream.u64(), 3 * PAGE + 4);
  for (const { name, bytes } of roms) assert.deepEqual([stream.text(), stream.u64()], [name, bytes.length]);
  assert.equal(stream.u64(), 0x10);
  assert.deepEqual([stream.u8(), stream.u32()], [0x7e, section]);

  // their pages, as ram_save_complete does
  assert.deepEqual([stream.u8(), stream.u32()], [3, section]);
  for (const [name, offset, fill] of [
    ['pc.bios', 0, 1],
    ['pc.bios', PAGE, 2],
    ['/rom@etc/acpi/tables', 0, 3],
  ] as const) {
    assert.deepEqual([stream.u64(), stream.text()], [offset + 8, name]);
    assert.ok(stream.take(PAGE).equals(Buffer.alloc(PAGE, fill)));
  }
  assert.equal(stream.u64(), 0x10);
  assert.deepEqual([stream.u8(), stream.u32()], [0x7e, section]);
  assert.equal(stream.rest(), 'the devices');
});
