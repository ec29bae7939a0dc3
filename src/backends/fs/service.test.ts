import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { DirectoryError, openFs } from './service.ts';

function withFolder(act: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'fs, "a" é-'));
  return act(folder).finally(() => rmSync(folder, { recursive: true }));
}

/** Returns the number of descriptors of this process that are open. */
function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Returns whether this process has a descriptor of a directory. */
function isOpen(directory: string): boolean {
  return readdirSync('/proc/self/fd').some((fd) => linkOf(fd) === directory);
}

function linkOf(fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    // closed meanwhile
    return undefined;
  }
}

/** Waits until there are no more descriptors than before. Node closes some after a thread has exited, also those of earlier threads. */
async function assertClosed(before: number): Promise<void> {
  for (let i = 0; i < 1000 && descriptors() > before; i++) await delay(10);
  assert.ok(descriptors() <= before, `${descriptors()} descriptors, ${before} before`);
}

test('a directory is served until the service is stopped, which closes its descriptors', () =>
  withFolder(async (directory) => {
    // the first thread opens descriptors that Node keeps
    const first = await openFs({ directory });
    await first.start();
    await first.stop();
    const before = descriptors();
    const service = await openFs({ directory, readonly: true, cache: 'never', queues: 2 });
    assert.ok(service.frontEnd > 2);
    await service.start();
    assert.notEqual(await service.reconnect(), service.frontEnd);
    assert.ok(isOpen(directory));
    await service.stop();
    assert.ok(!isOpen(directory));
    await assertClosed(before);
    await assert.rejects(service.reconnect(), /^Error: the device has stopped$/);
  }));

test('a directory that cannot be served is named with the reason, and nothing is left open', () =>
  withFolder(async (folder) => {
    const [missing, file] = [join(folder, 'none'), join(folder, 'file')];
    writeFileSync(file, '');
    const refused = async (directory: string): Promise<void> => {
      const { start, stop } = await openFs({ directory });
      try {
        await start();
      } finally {
        await stop();
      }
    };
    await assert.rejects(refused(missing), DirectoryError);
    const before = descriptors();
    const reasons = { [missing]: 'no such file or directory', [file]: 'not a directory' };
    for (const [directory, reason] of Object.entries(reasons)) {
      await assert.rejects(refused(directory), {
        message: `directory ${directory}: ${reason}`,
        path: directory,
      });
    }
    await assertClosed(before);
  }));

test('each of many devices has its thread, and Node prints no warning', async (t) => {
  const { mock } = t.mock.method(process.stderr, 'write');
  await withFolder(async (directory) => {
    const services = await Promise.all(Array.from({ length: 12 }, () => openFs({ directory })));
    await Promise.all(services.map(({ start }) => start()));
    await Promise.all(services.map(({ stop }) => stop()));
    // a warning is printed after this turn of the event loop
    await new Promise((resolve) => setImmediate(resolve));
  });
  assert.deepEqual(
    mock.calls.map((call) => String(call.arguments[0])).filter((line) => line.includes('Warning')),
    [],
  );
});
