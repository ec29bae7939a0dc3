// The page of a VMM in a browser: one guest from its creation to its power-off, and pages of other sites.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { createServer, request, type IncomingMessage } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import {
  assertAccessible,
  assertFits,
  emptyTerminal,
  press,
  pressAndConfirm,
  sendForm,
  startBrowser,
  stateOf,
  typeLine,
  untilPrompt,
  untilState,
  untilTerminal,
  urlOf,
  watchPage,
} from './support/browser.ts';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { makeFolder, startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 360, height: 740 };

/** Last value of a plot, e.g. `read 3.0 MiB/s, written 0 B/s`. */
const figureOf = (page: Page, title: string): Promise<string> =>
  page.locator('figcaption', { hasText: title }).locator('output').innerText();

/** Fails if the colours of text and background do not follow the scheme, or the page is not usable. */
async function checkLook(page: Page): Promise<void> {
  const backgrounds = new Set<string>();
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    backgrounds.add(
      await page
        .locator('body')
        .evaluate((body) => body.ownerDocument.defaultView?.getComputedStyle(body).backgroundColor ?? ''),
    );
    for (const size of [WIDE, NARROW]) {
      await page.setViewportSize(size);
      await assertFits(page);
    }
    await assertAccessible(page);
  }
  assert.equal(backgrounds.size, 2);
  await page.setViewportSize(WIDE);
}

/** Moves the focus with Tab until a button has it. */
async function tabTo(page: Page, name: string): Promise<void> {
  const focused = page.locator('button:focus');
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab');
    if ((await focused.count()) === 1 && (await focused.innerText()) === name) return;
  }
  assert.fail(`no number of tabs leads to ${name}`);
}

test('a VM from its creation to its power-off, in a browser', { timeout: 300_000 }, async () => {
  await using vmm = await startVmm({ args: ['--web', '127.0.0.1:0'] });
  const url = await urlOf(vmm);
  const browser = await startBrowser();
  await using _close = { [Symbol.asyncDispose]: () => browser.close() };
  const context = await browser.newContext({ viewport: WIDE });
  const page = await context.newPage();
  using watch = watchPage(page);

  await page.goto(url.href);
  await untilState(page, 'No VM');
  assert.equal(page.url(), `${url.origin}/`);
  assert.deepEqual(await page.evaluate('document.cookie'), '');
  assert.ok(await page.getByRole('button', { name: 'Boot', exact: true }).isDisabled());
  await sendForm(page, 'vm.create', 'Create', {
    'kernel.path': KERNEL,
    'initramfs.path': INITRAMFS,
    'cmdline.args': 'console=ttyS0',
    'memory.size': '256M',
    'serial.mode': 'Null',
    'console.mode': 'Null',
  });
  await untilState(page, 'Created');
  assert.ok(await page.getByRole('button', { name: 'Pause', exact: true }).isDisabled());

  // by keyboard
  await tabTo(page, 'Boot');
  await page.keyboard.press('Enter');
  await untilState(page, 'Running');
  await untilTerminal(page, 'login:');
  await typeLine(page, 'root');
  await untilPrompt(page);
  await page.getByRole('log').getByText('booted', { exact: true }).waitFor();
  await page.keyboard.press('Control+]');
  assert.equal(await page.locator('button:focus').innerText(), 'Serial port');

  const disk = makeImage(join(vmm.folder, 'disk, "é".raw'), 64 * MIB);
  await sendForm(page, 'vm.add-disk', 'Add disk', { path: disk, id: 'added', readonly: 'true' });
  await page.getByRole('rowheader', { name: 'added', exact: true }).waitFor();
  assert.match(await figureOf(page, 'Disks'), /^read 0 B\/s/);
  await typeLine(page, 'until [ -b /dev/vda ]; do sleep 0.1; done; echo disk-"is-there"');
  await untilTerminal(page, 'disk-is-there');
  await typeLine(
    page,
    'for i in 1 2 3 4 5 6 7 8 9; do dd if=/dev/vda of=/dev/null bs=1M iflag=direct; sleep 0.3; done',
  );
  await until('the plot shows the reads', async () =>
    /^read [1-9].*MiB\/s/.test(await figureOf(page, 'Disks')),
  );
  await until('the plot shows the CPU', async () => /^used [1-9]/.test(await figureOf(page, 'CPU of QEMU')));
  await checkLook(page);

  await press(page, 'Pause');
  await untilState(page, 'Paused');
  const snapshot = join(vmm.folder, 'snapshot');
  mkdirSync(snapshot);
  await sendForm(page, 'vm.snapshot', 'Snapshot', { destination_url: `file://${snapshot}` });
  await page.getByRole('log').getByText('snapshotted', { exact: true }).waitFor();
  await page.getByText('Snapshot: succeeded').waitFor();
  assert.ok(existsSync(join(snapshot, 'state.json')));
  await press(page, 'Resume');
  await untilState(page, 'Running');

  // the console of the next boot is in the same terminal
  await emptyTerminal(page);
  await pressAndConfirm(page, 'Reboot');
  await until(
    'the guest has booted again',
    async () => (await page.getByRole('log').getByText('booted', { exact: true }).count()) === 2,
  );
  await untilTerminal(page, 'login:');
  await typeLine(page, 'root');
  await untilPrompt(page);

  // two tabs at once
  const second = await context.newPage();
  await second.goto(url.origin);
  await untilState(second, 'Running');
  await typeLine(page, 'poweroff -f');
  assert.equal(await vmm.exited, 0);
  for (const one of [page, second]) {
    await one.getByText('The VMM has exited').waitFor();
    assert.equal(await stateOf(one), 'Unknown');
  }
  assert.deepEqual(watch.errors, []);
});

test('a wrong token, a foreign page and a rebinding name reach nothing', { timeout: 120_000 }, async () => {
  await using vmm = await startVmm({ args: ['--web', '0'] });
  const url = await urlOf(vmm);
  const browser = await startBrowser(['--host-resolver-rules=MAP rebinding.example 127.0.0.1']);
  await using _close = { [Symbol.asyncDispose]: () => browser.close() };
  const page = await browser.newPage();
  const statusOf = async (to: string): Promise<number | undefined> => (await page.goto(to))?.status();

  assert.equal(await statusOf(`${url.origin}/?token=${'A'.repeat(43)}`), 401);
  await page.goto(url.origin);
  await page.getByText('This browser has no access').waitFor();
  assert.equal(
    await statusOf(`http://rebinding.example:${url.port}/?token=${url.searchParams.get('token')}`),
    403,
  );

  // the browser has the cookie now, and sends it to this origin from pages of the same host, too
  await page.goto(url.href);
  await untilState(page, 'No VM');
  const foreign = createServer((_request, response) =>
    response.setHeader('content-type', 'text/html').end('<p>foreign</p>'),
  );
  foreign.listen(0, '127.0.0.1');
  await once(foreign, 'listening');
  const address = foreign.address();
  assert.ok(typeof address === 'object' && address !== null);
  await page.goto(`http://127.0.0.1:${address.port}/`);
  const outcome = async (code: string): Promise<unknown> => page.evaluate(code);
  const api = `${url.host}/api/v1`;
  // a simple request, which the browser sends without a preflight
  const simple = `fetch('http://${api}/vmm.ping', { mode: 'no-cors', credentials: 'include' }).then(() => 'sent', () => 'refused')`;
  assert.equal(await outcome(simple), 'refused');
  const put = `fetch('http://${api}/vmm.shutdown', { method: 'PUT', credentials: 'include' }).then(() => 'sent', () => 'refused')`;
  assert.equal(await outcome(put), 'refused');
  const socket = `new Promise((done) => {
    const socket = new WebSocket('ws://${api}/vm.console?device=serial');
    socket.onopen = () => done('open');
    socket.onerror = () => done('refused');
  })`;
  assert.equal(await outcome(socket), 'refused');
  const frame = `new Promise((done) => {
    const frame = document.createElement('iframe');
    frame.src = '${url.origin}/';
    frame.onload = () => done(frame.contentDocument === null ? 'blocked' : 'shown');
    document.body.append(frame);
  })`;
  assert.equal(await outcome(frame), 'blocked');
  foreign.close();
  assert.equal(vmm.exitCode(), null);
});

test('--web serves inherited sockets: TCP, whose port the URL has, and UNIX', async () => {
  const folder = makeFolder();
  const made = join(folder, 'made');
  const path = join(folder, 'page');
  for (const where of [{ host: '127.0.0.1', port: 0 }, { path: made }]) {
    const server = createTcpServer().listen(where);
    await once(server, 'listening');
    const handle: unknown = Reflect.get(server, '_handle');
    const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
    assert.ok(typeof fd === 'number');
    await using vmm = await startVmm({ args: ['--web', 'fd=3'], inherited: [fd] });
    // only the VMM may accept on it; closing removes the file where it was made
    if ('path' in where) renameSync(made, path);
    server.close();
    const url = await urlOf(vmm);
    const address = 'path' in where ? { socketPath: path } : { host: where.host, port: url.port };
    const target = `/api/v1/vmm.ping${url.search}`;
    const outgoing = request({ ...address, path: target, headers: { host: url.host }, agent: false }).end();
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    assert.equal(incoming.resume().statusCode, 200);
  }
});
