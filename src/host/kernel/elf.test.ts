import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasPvhNote, readPvhKernel, type ReadAt } from './elf.ts';

interface Note {
  readonly owner: string;
  readonly type: number;
}

function reader(bytes: Buffer): ReadAt {
  return async (offset, length) => bytes.subarray(offset, offset + length);
}

/** The value of each note: an address. */
const ENTRY = Buffer.from([0x30, 0x0a, 0x00, 0x01]);

const PVH: Note = { owner: 'Xen\0', type: 18 };

/** A 64-bit ELF with one segment, of notes whose values have four bytes. */
function elf(notes: readonly Note[], machine = 62): Buffer {
  const segment = Buffer.concat(
    notes.map(({ owner, type }) => {
      const name = Buffer.alloc(Math.ceil(owner.length / 4) * 4);
      name.write(owner, 'latin1');
      const head = Buffer.alloc(12);
      for (const [i, value] of [owner.length, 4, type].entries()) head.writeUInt32LE(value, 4 * i);
      return Buffer.concat([head, name, ENTRY]);
    }),
  );
  const file = Buffer.concat([Buffer.alloc(120), segment]);
  file.write('\x7fELF\x02\x01\x01', 0, 'latin1');
  file.writeUInt16LE(machine, 18);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(1, 56);
  file.writeUInt32LE(4, 64);
  file.writeBigUInt64LE(120n, 72);
  file.writeBigUInt64LE(BigInt(segment.length), 96);
  return file;
}

test('Linux is recognized by the notes of its build, in any order', async () => {
  const linux: Note = { owner: 'Linux\0', type: 256 };
  assert.deepEqual(await readPvhKernel(reader(elf([linux, PVH]))), { isLinux: true, entry: 0x100_0a30 });
  assert.deepEqual(await readPvhKernel(reader(elf([PVH, linux]))), { isLinux: true, entry: 0x100_0a30 });
  assert.deepEqual(await readPvhKernel(reader(elf([{ owner: 'GNU\0', type: 3 }, PVH]))), {
    isLinux: false,
    entry: 0x100_0a30,
  });
});

test('an ELF that PVH cannot enter is refused with the reason', async () => {
  await assert.rejects(readPvhKernel(reader(elf([]))), /an ELF without a PVH note/);
  await assert.rejects(readPvhKernel(reader(elf([{ owner: 'Xen\0', type: 6 }]))), /without a PVH note/);
  await assert.rejects(readPvhKernel(reader(elf([{ owner: 'GNU\0', type: 18 }]))), /without a PVH note/);
  await assert.rejects(readPvhKernel(reader(elf([PVH], 183))), /is an ELF for AArch64/);
  await assert.rejects(readPvhKernel(reader(elf([PVH], 999))), /is an ELF for machine 999/);
});

test('a damaged ELF is refused, never read beyond its end', async () => {
  const whole = elf([PVH]);
  for (let size = 0; size < whole.length - 8; size++)
    assert.equal(await hasPvhNote(reader(whole.subarray(0, size))), false);
  for (const [at, value] of [
    [32, 2n ** 64n - 1n],
    [72, 2n ** 63n],
    [96, 0n],
  ] as const) {
    const damaged = Buffer.from(whole);
    damaged.writeBigUInt64LE(value, at);
    assert.equal(await hasPvhNote(reader(damaged)), false);
  }
  const owner = Buffer.from(whole);
  owner.writeUInt32LE(0xffff_ffff, 120);
  assert.equal(await hasPvhNote(reader(owner)), false);
});
