// Five hundred images with damaged headers, each given to a VM by one VMM: no hang, no crash, no leaked resource.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bootDamaged } from '../support/damaged-images.ts';
import { makeSeeds, mutationsOf } from '../support/image-mutations.ts';
import { randomFrom } from '../support/random.ts';
import { startVmm } from '../support/vmm.ts';

const COUNT = 500;
const SEED = Number(process.env['NEPHOS_FUZZ_SEED'] ?? '20261127');

test(`${COUNT} images with damaged headers (seed ${SEED})`, async () => {
  await using vmm = await startVmm();
  const folder = join(vmm.folder, 'damaged');
  mkdirSync(folder);
  const mutations = mutationsOf(makeSeeds(folder), COUNT, randomFrom(SEED));
  const booted = await bootDamaged(vmm, join(folder, 'an "image", é'), mutations);
  assert.ok(booted > COUNT / 8 && booted < COUNT, `${booted} of ${COUNT} were booted`);
});
