// Answers of a running VM match the document of its dialect.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Answer, assertStatus } from './support/answers.ts';
import { guestConfig, INITRAMFS, KERNEL } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { faultsOf, servedDocument } from './support/openapi.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';

const EVERYTHING = 'openapi-everything.json';
const devices = { net: [{ backend: 'user' }], balloon: { size: 0 } };
const DIALECTS = [
  {
    document: EVERYTHING,
    config: {
      payload: { kernel: KERNEL, initramfs: INITRAMFS, cmdline: 'console=ttyS0' },
      serial: { mode: 'Null' },
      console: { mode: 'Pty' },
      watchdog: true,
    },
  },
  { document: 'openapi.json', config: guestConfig({ watchdog: true }) },
] as const;

for (const { document: path, config } of DIALECTS) {
  test(`${path}: answers before the boot and while the VM runs`, async () => {
    await using vmm = await startVmm();
    const document = await servedDocument(vmm, path);
    const image = join(vmm.folder, 'disk.raw');
    for (const file of [image, `${image}2`]) {
      makeImage(file, 2 ** 20);
    }
    const faults: string[] = [];
    const look = (method: 'get' | 'put', name: string, answer: Answer): Answer => {
      // the contract lists few of the errors
      if (path === EVERYTHING || answer.status === 200)
        faults.push(...faultsOf(document, { method, path: name }, answer));
      return answer;
    };
    const get = async (name: string): Promise<Answer> => look('get', name, await vmm.get(name));
    const put = async (name: string, body?: unknown): Promise<Answer> =>
      look('put', name, await vmm.put(name, body));

    assertStatus(await get('vm.info'), 404);
    assertStatus(
      await put('vm.create', { ...config, ...devices, disks: [{ path: image, id: 'disk' }] }),
      204,
    );
    assertStatus(await get('vm.info'), 200);
    assertStatus(await get('vm.counters'), 405);
    assertStatus(await put('vm.boot'), 204);
    assertStatus(await put('vm.boot'), 405);
    for (const name of ['vm.info', 'vmm.ping', 'vm.counters']) assertStatus(await get(name), 200);
    assertStatus(await put('vm.add-disk', { path: `${image}2`, id: 'second' }), 200);
    assertStatus(await put('vm.add-disk', { path: `${image}2`, id: 'second' }), 409);
    assertStatus(await put('vm.add-disk', { path: '/no/such' }), 500);
    assertStatus(await put('vm.add-disk', { path: 1 }), 400);
    assertStatus(await put('vm.add-vdpa', {}), 501);
    assertStatus(await put('vm.remove-device', { id: 'none' }), 404);
    assertStatus(await get('vm.info'), 200);
    assert.deepEqual(faults, []);
  });
}

test('a wrong verb is 405 with Allow, except GET and PUT on the contract’s paths', async () => {
  await using vmm = await startVmm();
  const contract = await servedDocument(vmm, 'openapi.json');
  const { paths } = await servedDocument(vmm, EVERYTHING);
  for (const [path, operations] of Object.entries(paths)) {
    const verbs = Object.keys(operations).map((name) => name.toUpperCase());
    for (const wrong of ['GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']) {
      if (verbs.includes(wrong)) continue;
      const isTheirs = path in contract.paths && ['GET', 'PUT'].includes(wrong);
      const expected = isTheirs ? [400, undefined] : [405, verbs.join(', ')];
      assert.deepEqual(await statusAndAllow(vmm, wrong, path), expected, `${wrong} ${path}`);
    }
  }
});

function statusAndAllow(vmm: TestVmm, method: string, path: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath: vmm.socket, method, path: `/api/v1${path}`, agent: false },
      (incoming) => {
        incoming.resume();
        incoming.on('end', () => resolve([incoming.statusCode, incoming.headers.allow]));
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}
