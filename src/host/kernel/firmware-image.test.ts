import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firmwareForm, VECTOR_BYTES } from './firmware-image.ts';

function formOf(file: Buffer): string {
  const [head, tail] = [file.subarray(0, 512), file.subarray(-VECTOR_BYTES)];
  return firmwareForm({ size: file.length, head, tail });
}

/** A firmware image of a size that begins with `head`. */
function image(bytes: number, head: readonly number[] = [0xff]): Buffer {
  const file = Buffer.alloc(bytes, 0xff);
  Buffer.from(head).copy(file);
  // jmp: where the processor starts
  file.set([0xea, 0x5b, 0xe0, 0x00, 0xf0], bytes - VECTOR_BYTES);
  return file;
}

test('a multiple of 64 KiB is a ROM, any other multiple of 4 KiB is flash', () => {
  for (const kib of [64, 128, 256, 1024, 1920, 2048, 4096, 8192])
    assert.equal(formOf(image(kib * 1024)), 'rom');
  for (const kib of [4, 60, 260, 3568]) assert.equal(formOf(image(kib * 1024)), 'flash');
});

test('an image that begins with a magic number of two bytes is still firmware', () => {
  assert.equal(formOf(image(131_072, [0x1f, 0x8b])), 'rom');
  const bootable = image(131_072);
  bootable.set([0x55, 0xaa], 510);
  assert.equal(formOf(bootable), 'rom');
});

test('the kind of a file that is no firmware is named', () => {
  const at = (text: string, place = 0): Buffer => {
    const file = Buffer.alloc(65_536);
    file.write(text, place, 'latin1');
    return file;
  };
  for (const [file, message] of [
    [Buffer.alloc(0), /^is empty$/],
    [Buffer.from('x'), /^is a text file$/],
    [at('MZ'), /^is an EFI program/],
    [at('RSC\x05', 56), /^is a RISC-V kernel/],
    [at('ARM\x64', 56), /^is an arm64 kernel/],
    [at('QFI\xfb'), /^is a disk image/],
    [at('vhdxfile'), /^is a disk image/],
    [at('\x55\xaa', 510), /^is a disk image/],
    [at('070701'), /^is a cpio archive/],
    [at('\x1f\x8b'), /^is compressed with gzip/],
    [at('\x28\xb5\x2f\xfd'), /^is compressed with zstd/],
    [image(8 * 2 ** 20 + 65_536), /at most 8 MiB$/],
    [image(4097), /multiple of 4 KiB$/],
    [at(''), /reset vector, are blank$/],
  ] as const) {
    assert.throws(() => formOf(file), { message });
  }
});
