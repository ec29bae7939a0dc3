// Five hundred images with damaged headers are inspected: an answer for each, and none that names a table outside of the file.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeSeeds, mutationsOf, type Mutation } from '../../../tests/support/image-mutations.ts';
import { randomFrom } from '../../../tests/support/random.ts';
import { detectUnsupported } from './unsupported-format.ts';
import { detectFormat, inspectAs, type FormatFacts } from './image-format.ts';
import type { ImageReader } from './image-reader.ts';

const COUNT = 500;
const SEED = Number(process.env['NEPHOS_FUZZ_SEED'] ?? '20261127');

const folder = mkdtempSync(join(tmpdir(), 'nephos-images-'));
after(() => rmSync(folder, { recursive: true }));

/** A damaged image in memory; how much of it is read is counted. */
function readerOf({ seed, at, bytes, length }: Mutation): ImageReader & { readonly amount: () => number } {
  const contents = Buffer.from(seed.contents);
  bytes.copy(contents, at);
  const left = contents.subarray(0, length);
  let amount = 0;
  return {
    size: length,
    amount: () => amount,
    read: async (position, count) => {
      amount += count;
      const part = Buffer.alloc(count);
      left.subarray(position, position + count).copy(part);
      return part;
    },
  };
}

async function inspect(image: ImageReader): Promise<FormatFacts | Error> {
  try {
    if ((await detectUnsupported(image)) !== undefined) return new Error('foreign');
    return await inspectAs(await detectFormat(image), image);
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
}

test(`${COUNT} images with damaged headers are inspected within bounds (seed ${SEED})`, async () => {
  const seeds = makeSeeds(folder);
  const counts = { accepted: 0, refused: 0 };
  for (const mutation of mutationsOf(seeds, COUNT, randomFrom(SEED))) {
    const image = readerOf(mutation);
    const found = await inspect(image);
    assert.ok(image.amount() < 4 * 2 ** 20, `${mutation.name}: ${image.amount()} bytes were read`);
    if (found instanceof Error) {
      counts.refused++;
      // the error has a message of this project: it is no error of the language itself
      assert.equal(found.constructor, Error, `${mutation.name}: ${found.stack}`);
    } else {
      counts.accepted++;
      assert.ok(Number.isSafeInteger(found.bytes) && found.bytes >= 0, `${mutation.name}: ${found.bytes}`);
    }
  }
  assert.ok(counts.refused > COUNT / 8 && counts.accepted > COUNT / 8, JSON.stringify(counts));
});
