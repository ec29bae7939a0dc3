// `vm.ended` of the SDK settles for every way in which a VM ends.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, VirtualMachine, type VmConfig, type VmEnd } from 'nephos';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { childrenOf } from './support/processes.ts';

const GUEST: VmConfig = {
  cpus: { boot_vcpus: 1, max_vcpus: 1 },
  memory: { size: 256 * 2 ** 20 },
  kernel: { path: KERNEL },
  initramfs: { path: INITRAMFS },
  cmdline: { args: 'console=ttyS0' },
};

/** Time limit for `vm.ended`, in milliseconds. */
const TOLD_MS = 30_000;

function toldEnd(vm: VirtualMachine): Promise<VmEnd | 'nothing was told'> {
  const late = new Promise<'nothing was told'>((resolve) => {
    setTimeout(resolve, TOLD_MS, 'nothing was told').unref();
  });
  return Promise.race([vm.ended, late]);
}

function killQemu(vm: VirtualMachine): void {
  const [qemu] = childrenOf(vm.pid).filter(({ command }) => command.includes('qemu-system'));
  assert.ok(qemu !== undefined);
  process.kill(qemu.pid, 'SIGKILL');
}

/** Returns the client of another program, for the same VMM. */
const otherClient = (vm: VirtualMachine): Client => new Client(vm.client.socketPath);

for (const [what, act, expected] of [
  ['QEMU is killed', async (vm) => killQemu(vm), { code: 1, signal: null, reason: 'crash' }],
  [
    'another client shuts the VM down',
    (vm) => otherClient(vm).call('vm.shutdown'),
    { code: 0, signal: null, reason: 'shutdown' },
  ],
  [
    'another client deletes the VM',
    (vm) => otherClient(vm).call('vm.delete'),
    { code: 0, signal: null, reason: 'shutdown' },
  ],
  [
    'another client ends the VMM',
    (vm) => otherClient(vm).call('vmm.shutdown'),
    { code: 0, signal: null, reason: 'exit' },
  ],
  [
    'the VMM is killed',
    async (vm) => void process.kill(vm.pid, 'SIGKILL'),
    { code: null, signal: 'SIGKILL', reason: 'exit' },
  ],
] satisfies readonly [string, (vm: VirtualMachine) => Promise<void>, VmEnd][]) {
  test(`vm.ended settles where ${what}, not at a reboot before`, async () => {
    // an event monitor of the user's own keeps working
    await using vm = await VirtualMachine.launch(GUEST, { args: ['--event-monitor', 'path=/dev/null'] });
    await vm.reboot();
    const before = await Promise.race([vm.ended, vm.info()]);
    assert.ok('state' in before && before.state === 'Running', JSON.stringify(before));
    await act(vm);
    const end = await toldEnd(vm);
    assert.ok(end !== 'nothing was told', end as string);
    const { detail, ...rest } = end;
    assert.deepEqual(rest, expected);
    assert.equal(detail?.includes('SIGKILL'), rest.reason === 'crash' ? true : undefined);
  });
}
