import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openVsock } from './service.ts';

test('a call to a device whose thread has exited fails at once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vsock-'));
  try {
    const socket = join(folder, 'a, "b" é');
    const service = await openVsock({ cid: 3, socket });
    assert.deepEqual(await service.handoverState(), { streams: [], nextHostPort: 2 ** 30 });
    await service.stop();
    assert.equal(existsSync(socket), false);
    await assert.rejects(service.handoverState(), /^Error: the device has stopped$/);
    await assert.rejects(service.reconnect(undefined), /^Error: the device has stopped$/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the thread closes its descriptors without a warning of Node', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vsock-'));
  const { mock } = t.mock.method(process.stderr, 'write');
  try {
    const service = await openVsock({ cid: 3, socket: join(folder, 'socket') });
    await service.start();
    await service.stop();
    // the lines of a thread arrive after its exit
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(
      mock.calls.map((call) => String(call.arguments[0])).filter((line) => line.includes('Warning')),
      [],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
