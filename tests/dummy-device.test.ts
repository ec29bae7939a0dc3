// A new kind of device is one folder and one line in src/devices/index.ts; all lists of devices derive from there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { copyWithDummyDevice, DUMMY_PCI_IDS, type RepositoryCopy } from './support/dummy-device.ts';
import { guestConfig } from './support/guest.ts';
import type { Shell } from './support/shell.ts';
import { infoOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

let copy: RepositoryCopy;

before(async () => {
  copy = copyWithDummyDevice();
  // builds the copy, then writes the documents that derive from the sources
  await copy.run('npm', 'run', 'manual');
  await copy.run('node', 'build/scripts/architecture.js');
});
after(() => copy[Symbol.dispose]());

test('the checks pass in a repository with the dummy device', async () => {
  await copy.run('npm', 'run', 'check');
});

test('the help of both programs shows the dummy device', async () => {
  assert.match(await copy.run('bin/cloud-hypervisor', '--help'), /--dummy .*\n.*A PCI device for tests/);
  assert.match(await copy.run('bin/ch-remote', '--help'), /add-dummy <dummy_config> +Add dummy device/);
});

test('manual pages, completions and docs/configuration.md show the dummy device', () => {
  const places: Readonly<Record<string, readonly string[]>> = {
    'man/cloud-hypervisor.1': ['\\-\\-dummy'],
    'man/ch-remote.1': ['add\\-dummy'],
    'completions/cloud-hypervisor.bash': ['--dummy'],
    'completions/ch-remote.bash': ['add-dummy'],
    'completions/_ch-remote': ['add-dummy'],
    'completions/cloud-hypervisor.fish': ['dummy'],
    'docs/configuration.md': ['### DummyConfig', 'dummies', '--dummy'],
  };
  for (const [path, texts] of Object.entries(places)) {
    const content = readFileSync(copy.at(path), 'utf8');
    for (const text of texts) assert.ok(content.includes(text), `${path} has no ${text}`);
  }
});

test('the document of everything has the dummy device, the contract’s has not', async () => {
  await using vmm = await start();
  const [contract, everything] = await Promise.all([
    vmm.get('openapi.json'),
    vmm.get('openapi-everything.json'),
  ]);
  assert.equal(JSON.stringify(contract.json).includes('ummy'), false);
  const { paths, components } = everything.json as {
    paths: Record<string, { put: { summary: string } }>;
    components: { schemas: Record<string, { properties: object }> };
  };
  assert.equal(paths['/vm.add-dummy']?.put.summary, 'Add a new dummy device to the VM');
  assert.ok('dummies' in (components.schemas['VmConfig']?.properties ?? {}));
  assert.deepEqual(Object.keys(components.schemas['DummyConfig']?.properties ?? {}), ['id', 'pci_device_id']);
});

test('a flag of the command line describes a dummy device', async () => {
  const flags = ['--kernel', '/none', '--dummy', 'id=first', 'id=second', '--dummy', 'identity=third'];
  await assert.rejects(copy.run('bin/cloud-hypervisor', ...flags), /Error parsing --dummy: unknown option/);
});

test('a guest sees a dummy device from boot, gets another while it runs, and releases it', async () => {
  await using vmm = await start();
  using shell = await boot(vmm, { dummies: [{ id: 'first' }] });
  const { config } = await infoOf(vmm);
  assert.deepEqual((config as { dummies?: unknown }).dummies, [{ id: 'first' }]);
  assert.equal((await dummiesIn(shell)).length, 1);

  const remote = (...words: string[]) => copy.run('bin/ch-remote', '--api-socket', vmm.socket, ...words);
  const added = JSON.parse(await remote('add-dummy', 'id=second')) as { id: string; bdf: string };
  assert.equal(added.id, 'second');
  await until('the guest has both', async () => (await dummiesIn(shell)).length === 2);
  assert.ok((await dummiesIn(shell)).includes(added.bdf));

  await remote('remove-device', 'second');
  await until('the guest has one', async () => (await dummiesIn(shell)).length === 1);
  await until('the VM has one', async () => !('second' in ((await infoOf(vmm)).device_tree ?? {})));
});

test('a dummy device joins the configuration of a VM that is not booted', async () => {
  await using vmm = await start();
  assertStatus(await vmm.put('vm.create', guestConfig()), 204);
  assertStatus(await vmm.put('vm.add-dummy', { id: 'early' }), 204);
  const { config } = await infoOf(vmm);
  assert.deepEqual((config as { dummies?: unknown }).dummies, [{ id: 'early' }]);
});

/** Starts the copy's VMM. */
function start(): Promise<TestVmm> {
  return startVmm({ program: copy.at('bin/cloud-hypervisor') });
}

/** Returns the PCI addresses of the dummy devices that a guest has. */
async function dummiesIn(shell: Shell): Promise<string[]> {
  const ids = 'echo "${d##*/} $(cat $d/vendor) $(cat $d/device)"';
  const lines = (await shell.run(`for d in /sys/bus/pci/devices/*; do ${ids}; done`)).split('\n');
  return lines
    .map((line) => line.trim())
    .filter((line) => line.endsWith(DUMMY_PCI_IDS))
    .map((line) => line.slice(0, line.indexOf(' ')));
}
