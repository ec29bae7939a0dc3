import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answeredConfig } from './answered-config.ts';
import { decodeVmConfig } from './decode-vm-config.ts';

const KERNEL = { kernel: { path: '/k' } };
const PAYLOAD = { payload: { kernel: '/k' } };

/** A configuration as vm.info shows it, by its members. */
function shown(json: object): Readonly<Record<string, unknown>> {
  const config: unknown = JSON.parse(JSON.stringify(answeredConfig(decodeVmConfig(json).config)));
  return config as Record<string, unknown>;
}

/** The members of the first item of a list, or of a struct. */
function membersOf(config: Readonly<Record<string, unknown>>, name: string): Record<string, unknown> {
  const member = config[name];
  return (Array.isArray(member) ? member[0] : member) as Record<string, unknown>;
}

const DEVICES = {
  memory: { size: 2 ** 29, shared: true },
  disks: [{ path: '/d' }],
  net: [{ fds: [3] }],
  fs: [{ tag: 't', socket: '/s' }],
  pmem: [{ file: '/p' }],
  devices: [{ path: '/sys/d' }],
  vsock: { cid: 3, socket: '/v' },
  balloon: { size: 0 },
};

test('with `payload` members of v40 are always shown, and those that it does not know are not', () => {
  const config = shown({ ...PAYLOAD, ...DEVICES });
  assert.deepEqual(membersOf(config, 'debug_console'), { mode: 'Off', iobase: 0xe9 });
  assert.equal(config['pvpanic'], false);
  for (const name of ['disks', 'net', 'fs', 'pmem', 'devices', 'vsock'])
    assert.equal(membersOf(config, name)['pci_segment'], 0, name);
  assert.ok(!('pci_segment' in membersOf(config, 'balloon')) && !('pci_segment' in membersOf(config, 'rng')));
  for (const [name, member] of [
    ['disks', 'poll_queue'],
    ['fs', 'dax'],
    ['fs', 'cache_size'],
    ['pmem', 'mergeable'],
  ] as const)
    assert.ok(!(member in membersOf(config, name)), `${name}.${member}`);
  assert.deepEqual(membersOf(config, 'cpus')['features'], { amx: false });
  assert.equal(membersOf(config, 'memory')['thp'], true);
  assert.equal(membersOf(config, 'balloon')['free_page_reporting'], false);
  assert.ok(!('kernel' in config) && !('cmdline' in config));
});

test('with `payload` what was asked for is shown as it was asked for', () => {
  const asked = {
    pvpanic: true,
    debug_console: { mode: 'Null', iobase: 0x402 },
    memory: { size: 2 ** 29, thp: false },
    disks: [{ path: '/d', pci_segment: 0, serial: 'S', vhost_user: false, poll_queue: false }],
    pmem: [{ file: '/p', mergeable: true }],
  };
  const config = shown({ ...PAYLOAD, ...asked });
  assert.equal(config['pvpanic'], true);
  assert.deepEqual(membersOf(config, 'debug_console'), { mode: 'Null', iobase: 0x402 });
  assert.equal(membersOf(config, 'memory')['thp'], false);
  assert.equal(membersOf(config, 'disks')['serial'], 'S');
  assert.equal(membersOf(config, 'disks')['poll_queue'], false);
  assert.equal(membersOf(config, 'pmem')['mergeable'], true);
  // an answer is a configuration again, and is answered in the same way
  assert.deepEqual(shown(config), config);
});

test('with `kernel` what came later is shown only where the machine has it', () => {
  const config = shown({ ...KERNEL, ...DEVICES, pvpanic: false, debug_console: { mode: 'Off' } });
  for (const later of ['pvpanic', 'debug_console', 'payload']) assert.ok(!(later in config), later);
  assert.ok(!('features' in membersOf(config, 'cpus')) && !('thp' in membersOf(config, 'memory')));
  assert.equal(membersOf(config, 'disks')['poll_queue'], true);
  assert.equal(membersOf(config, 'fs')['dax'], true);
  assert.deepEqual(membersOf(config, 'net')['fd'], [3]);
  const numa = [{ guest_numa_id: 0, pci_segments: [0] }];
  const onSegments = shown({
    ...KERNEL,
    platform: { num_pci_segments: 2 },
    disks: [{ path: '/d', pci_segment: 1, serial: 'S' }],
    pci_segments: [{ pci_segment: 1 }],
    numa,
  });
  assert.ok(!JSON.stringify(onSegments).replace('num_pci_segments', '').includes('pci_segment'));
  assert.equal(membersOf(onSegments, 'disks')['serial'], 'S');
  const asked = shown({ ...KERNEL, pvpanic: true, debug_console: { mode: 'Pty' } });
  assert.equal(asked['pvpanic'], true);
  assert.equal(membersOf(asked, 'debug_console')['mode'], 'Pty');
});
