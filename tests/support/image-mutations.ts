// Images with damaged headers: the same set in every run, for the inspection alone and for QEMU behind it.
import { copyFileSync, openSync, closeSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createImage } from './images.ts';

const MIB = 2 ** 20;

/** An image of qemu-img, with the places of its headers and tables. */
export interface ImageSeed {
  readonly path: string;
  readonly contents: Buffer;
  /** ranges of bytes that are damaged: first, length */
  readonly places: readonly (readonly [number, number])[];
}

/** A damaged image: bytes that are written over a seed, and the length that is left of it. */
export interface Mutation {
  readonly name: string;
  readonly seed: ImageSeed;
  readonly at: number;
  readonly bytes: Buffer;
  readonly length: number;
}

/** Makes one image of each kind in a folder. */
export function makeSeeds(folder: string): ImageSeed[] {
  const seed = (name: string, options: readonly string[], places: ImageSeed['places']): ImageSeed => {
    const path = createImage(join(folder, name), '16M', options);
    const contents = readFileSync(path);
    return {
      path,
      contents,
      places: places.map(([at, length]) => [at < 0 ? contents.length + at : at, length]),
    };
  };
  const qcow2 = [
    [0, 112],
    [0, 640],
    [65_536, 32],
    [131_072, 32],
    [196_608, 8],
  ] as const;
  const raw = seed(
    'raw.img',
    ['-f', 'raw'],
    [
      [0, 16],
      [-512, 72],
    ],
  );
  const fresh = seed('fresh.qcow2', ['-f', 'qcow2'], qcow2);
  const overlay = seed('overlay.qcow2', ['-f', 'qcow2', '-b', raw.path, '-F', 'raw'], qcow2);
  const old = seed(
    'old.qcow2',
    ['-f', 'qcow2', '-o', 'compat=0.10,cluster_size=512'],
    [
      [0, 72],
      [0, 512],
      [512, 512],
    ],
  );
  const dynamic = seed(
    'dynamic.vhd',
    ['-f', 'vpc', '-o', 'force_size=on'],
    [
      [0, 512],
      [512, 1024],
      [1536, 64],
      [-512, 72],
    ],
  );
  const fixed = seed(
    'fixed.vhd',
    ['-f', 'vpc', '-o', 'subformat=fixed,force_size=on'],
    [
      [0, 16],
      [-512, 72],
    ],
  );
  const vhdx = seed(
    'disk.vhdx',
    ['-f', 'vhdx'],
    [
      [0, 64],
      [65_536, 96],
      [131_072, 96],
      [196_608, 96],
      [3 * MIB, 256],
      [3 * MIB + 65_536, 64],
      [2 * MIB, 64],
    ],
  );
  return [raw, fresh, fresh, overlay, old, dynamic, fixed, vhdx, vhdx];
}

/** Boundary values of integer fields. */
const VALUES = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  1n << 40n,
  1n << 62n,
  (1n << 64n) - 1n,
];

/** `count` damaged images, the same for the same `random`. */
export function mutationsOf(seeds: readonly ImageSeed[], count: number, random: () => number): Mutation[] {
  const below = (limit: number): number => Math.floor(random() * limit);
  return Array.from({ length: count }, (_, i) => {
    const seed = seeds[i % seeds.length] ?? fail();
    const [first, length] = seed.places[below(seed.places.length)] ?? fail();
    const wide = Buffer.alloc(8);
    const value = VALUES[below(VALUES.length)] ?? 0n;
    if (below(2) === 0) wide.writeBigUInt64BE(value);
    else wide.writeBigUInt64LE(value);
    const width = [1, 2, 4, 8][below(4)] ?? 1;
    const bytes =
      below(3) === 0
        ? Buffer.from([below(256)])
        : wide.subarray(below(2) === 0 ? 8 - width : 0).subarray(0, width);
    const at = first + below(length / 4) * 4 + (bytes.length === 1 ? below(4) : 0);
    const isCut = below(8) === 0;
    const left = isCut ? below(seed.contents.length + 1) : seed.contents.length;
    const cut = isCut ? `, cut to ${left} bytes` : '';
    return { name: `${seed.path}: ${bytes.toString('hex')} at ${at}${cut}`, seed, at, bytes, length: left };
  });
}

/** Writes a damaged image to a file. */
export function writeMutation(path: string, { seed, at, bytes, length }: Mutation): void {
  copyFileSync(seed.path, path);
  const file = openSync(path, 'r+');
  try {
    writeSync(file, bytes, 0, bytes.length, at);
  } finally {
    closeSync(file);
  }
  truncateSync(path, length);
}

function fail(): never {
  throw new Error('nothing to choose from');
}
