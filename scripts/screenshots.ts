// `npm run screenshots`: boots a guest, works with it in the page, and draws the pictures of docs/web.md again.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import {
  startBrowser,
  typeLine,
  untilState,
  untilPrompt,
  untilTerminal,
  urlOf,
} from '../tests/support/browser.ts';
import { guestConfig } from '../tests/support/guest.ts';
import { makeImage } from '../tests/support/images.ts';
import { startVmm } from '../tests/support/vmm.ts';
import { until } from '../tests/support/wait.ts';

const FOLDER = 'docs/images';

/** Largest picture in bytes. */
const SIZE_MAX = 150_000;

const MIB = 2 ** 20;

await using vmm = await startVmm({ args: ['--web', '0'] });
const disk = makeImage(join(vmm.folder, 'root.raw'), 64 * MIB);
const config = guestConfig({ memory: { size: 256 * MIB }, disks: [{ path: disk, id: 'root' }] });
for (const [name, body] of [['vm.create', config], ['vm.boot']] as const) {
  const { status } = await vmm.put(name, body);
  if (status !== 204) throw new Error(`${name}: ${status}`);
}
const browser = await startBrowser();
try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 1180 } });
  await page.goto((await urlOf(vmm)).href);
  await untilState(page, 'Running');
  await untilTerminal(page, 'login:');
  await typeLine(page, 'root');
  await untilPrompt(page);
  for (const size of [40, 10, 60, 20]) {
    await typeLine(page, `dd if=/dev/vda of=/dev/null bs=64k count=${size * 16} iflag=direct`);
    await untilTerminal(page, `${size * 16}+0 records out`);
  }
  const disks = page.locator('figcaption', { hasText: 'Disks' }).locator('output');
  await until('the disk is idle again', async () => (await disks.innerText()).startsWith('read 0 B/s'));
  await page.emulateMedia({ colorScheme: 'light' });
  await draw('web.png');
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 360, height: 760 });
  await draw('web-narrow.png');

  async function draw(name: string): Promise<void> {
    const path = join(FOLDER, name);
    await page.evaluate('scrollTo(0, 0); document.activeElement.blur()');
    await page.screenshot({ path, animations: 'disabled' });
    const { size } = statSync(path);
    console.log(`${path}: ${size} bytes`);
    if (size > SIZE_MAX) throw new Error(`${path} has ${size} bytes, at most ${SIZE_MAX} are allowed`);
  }
} finally {
  await browser.close();
}
