// Lines that must not compile: `npm run check` fails if one does. Nothing here runs.
import type { Client, RestoreOptions, VirtualMachine, VmConfig } from './index.ts';

const cpus = { boot_vcpus: 1, max_vcpus: 1 };
const kernel = { path: '/k' };

export const smallest: VmConfig = { cpus, kernel };
// @ts-expect-error a VM needs a kernel
export const withoutKernel: VmConfig = { cpus };
// @ts-expect-error no such member
export const misspelled: VmConfig = { cpus, kernel, disk: [] };
// @ts-expect-error a number
export const wrongType: VmConfig = { cpus: { boot_vcpus: '1', max_vcpus: 1 }, kernel };
// @ts-expect-error one of the modes
export const wrongWord: VmConfig = { cpus, kernel, serial: { mode: 'Pipe' } };

export async function calls(client: Client): Promise<void> {
  // @ts-expect-error no such endpoint
  await client.call('vm.fly');
  // @ts-expect-error the endpoint takes a body
  await client.call('vm.resize');
  // @ts-expect-error the endpoint takes none
  await client.call('vm.boot', {});
  // @ts-expect-error a number of bytes
  await client.call('vm.resize', { desired_ram: '1G' });
  // @ts-expect-error a time limit is a number of milliseconds
  await client.call('vm.info', undefined, { timeoutMs: '1s' });
  await client.call('vm.add-net', {}, { fds: [3] });
  // @ts-expect-error no descriptors go with a disk
  await client.call('vm.add-disk', { path: '/d' }, { fds: [3] });
  // @ts-expect-error numbers
  await client.call('vm.add-net', {}, { fds: ['3'] });
  const { state, config } = await client.call('vm.info');
  state satisfies 'Created' | 'Running' | 'Paused' | 'Shutdown';
  config.cpus.boot_vcpus satisfies number;
  // @ts-expect-error no such state
  state satisfies 'Running';
  const added = await client.call('vm.add-disk', { path: '/d' });
  // @ts-expect-error before the boot there is no answer
  added.id satisfies string;
}

export async function machines(vm: VirtualMachine): Promise<void> {
  // @ts-expect-error a VM is launched with a configuration
  await (vm.constructor as typeof VirtualMachine).launch();
  // @ts-expect-error a signal, not a time
  await (vm.constructor as typeof VirtualMachine).launch({ cpus, kernel }, { signal: 1000 });
  // @ts-expect-error no such member: an address is of the host's side
  ({ net: [{ id: 'net', ip: '10.0.0.1' }] }) satisfies RestoreOptions['overrides'];
  // @ts-expect-error the directory is a path
  await vm.snapshot(new URL('file:///s'));
  // @ts-expect-error a port is a number
  await vm.connect('7');
  await vm.addNet({}, { fds: [3], timeoutMs: 1 });
  await vm.addFs({ tag: 't', directory: '/d', readonly: true, cache: 'always', uid_map: '0:1000:1' });
  // @ts-expect-error one of the caches
  await vm.addFs({ tag: 't', directory: '/d', cache: 'alwys' });
  // @ts-expect-error a range is a text
  await vm.addFs({ tag: 't', directory: '/d', uid_map: [0, 1000, 1] });
  // @ts-expect-error bytes
  await vm.resize({ desired_balloon: true });
  // @ts-expect-error read only
  vm.pid = 1;
  const [text] = await vm.serial.waitFor(/x/);
  text satisfies string;
}
