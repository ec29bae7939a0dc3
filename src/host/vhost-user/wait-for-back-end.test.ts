import assert from 'node:assert/strict';
import { linkSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { waitForListener } from './wait-for-back-end.ts';

const never = (): AbortSignal => new AbortController().signal;

async function inFolder(act: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'wait, "ö" -'));
  try {
    await act(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function listen(path: string): Promise<Server & { clients: number }> {
  return new Promise((resolve) => {
    const server = Object.assign(createServer(), { clients: 0 });
    server.on('connection', () => server.clients++);
    server.listen(path, () => resolve(server));
  });
}

test('a late back-end is waited for, and gets no client', () =>
  inFolder(async (folder) => {
    const path = join(folder, 's'.repeat(107 - folder.length - 3));
    const waiting = waitForListener(path, { signal: never() });
    const server = await listen(path);
    await waiting;
    assert.equal(server.clients, 0);
    server.close();
  }));

test('each failure is reported with the path', () =>
  inFolder(async (folder) => {
    const fails = (path: string, reason: RegExp) =>
      assert.rejects(waitForListener(path, { signal: never(), deadlineMs: 150 }), (error: unknown) => {
        assert.ok(error instanceof Error && error.message.startsWith(`${path}: `), String(error));
        assert.match(error.message, reason);
        return true;
      });
    const file = join(folder, 'file');
    writeFileSync(file, '');
    const [live, stale] = [join(folder, 'live'), join(folder, 'stale')];
    const server = await listen(live);
    linkSync(live, stale);
    await new Promise((resolve) => server.close(resolve));
    await fails(stale, /no process listens there \(waited 0\.15 s/);
    await fails(join(folder, 'none'), /no such socket \(waited 0\.15 s/);
    await fails(file, /is not a socket$/);
    await fails(join(file, 'below'), /not a directory$/);
    await fails(`/${'x'.repeat(107)}`, /longer than 107 bytes/);
  }));

test('the wait ends with its signal', () =>
  inFolder(async (folder) => {
    const control = new AbortController();
    const waiting = waitForListener(join(folder, 'none'), { signal: control.signal });
    control.abort();
    await assert.rejects(waiting, /none: no such socket; the wait for it was ended/);
  }));
