// Locks of images: one writer, or any number of readers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Answer, assertStatus, messagesOf } from './support/answers.ts';
import { guestConfig } from './support/guest.ts';
import { childrenOf } from './support/processes.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';

interface Use {
  /** the image that is opened: the backing file, or one of its overlays */
  readonly image: 'base' | 'overlay' | 'second';
  readonly readonly?: boolean;
}

const WRITES: Use = { image: 'base' };
const READS: Use = { image: 'base', readonly: true };
const OVER: Use = { image: 'overlay' };
const OVER_TOO: Use = { image: 'second' };

const ROWS: readonly (readonly [held: Use, wanted: Use, allowed: boolean])[] = [
  [WRITES, WRITES, false],
  [WRITES, READS, false],
  [READS, WRITES, false],
  [READS, READS, true],
  [OVER, OVER, false],
  [OVER, WRITES, false],
  [WRITES, OVER, false],
  [OVER, READS, true],
  [OVER, OVER_TOO, true],
];

const named = ({ image, readonly = false }: Use): string => `${image}${readonly ? ' for reading' : ''}`;

function makeImages(folder: string, format: string): Readonly<Record<Use['image'], string>> {
  const at = (name: string): string => join(folder, `${name}, "é".${format}`);
  const images = { base: at('base'), overlay: at('overlay'), second: at('second') };
  const create = (...words: string[]): void => void execFileSync('qemu-img', ['create', '-q', ...words]);
  create('-f', format, images.base, '4M');
  for (const overlay of [images.overlay, images.second]) {
    create('-f', 'qcow2', '-F', format, '-b', images.base, overlay);
  }
  return images;
}

async function boot(vmm: TestVmm, path: string, { image, readonly = false }: Use): Promise<Answer> {
  // a detected overlay is refused
  const type = image === 'base' ? {} : { image_type: 'Qcow2' };
  assertStatus(await vmm.put('vm.create', guestConfig({ disks: [{ path, readonly, ...type }] })), 204);
  return vmm.put('vm.boot');
}

for (const format of ['raw', 'qcow2']) {
  for (const [held, wanted, allowed] of ROWS) {
    const what = `${named(wanted)} while another VM has ${named(held)}`;
    test(`${format}: ${what} is ${allowed ? 'allowed' : 'refused'}`, async () => {
      await using holder = await startVmm();
      await using taker = await startVmm();
      const images = makeImages(holder.folder, format);
      assertStatus(await boot(holder, images[held.image], held), 204);
      const answer = await boot(taker, images[wanted.image], wanted);
      if (allowed) return assertStatus(answer, 204);
      assertStatus(answer, 500);
      const [, reason = ''] = messagesOf(answer);
      assert.match(reason, /^disk _disk0: .*: is in use by another disk or process/);
      assert.ok(reason.includes(holder.folder), reason);
      assert.deepEqual(childrenOf(taker.pid), []);
      // the image is free when the other VM is deleted
      assertStatus(await holder.put('vm.delete'), 204);
      assertStatus(await taker.put('vm.boot'), 204);
    });
  }
}
