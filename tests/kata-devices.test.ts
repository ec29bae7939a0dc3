// Kata's runtime-rs, beside the lifecycle of a sandbox: the vsock device and the shared folder are hot-plugged, and other
// sandboxes are clones of the first one, their template.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { startFsBackend } from './support/backends.ts';
import { INITRAMFS_WITH_TOOLS, KERNEL } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { kataRs } from './support/kata-config.ts';
import { editConfig } from './support/snapshots.ts';
import { connectStrict, type StrictClient } from './support/strict-client.ts';
import { openTerminal } from './support/terminal.ts';
import { makeFolder, startVmm } from './support/vmm.ts';
import { startEcho } from './support/vsock.ts';
import { until, within } from './support/wait.ts';

const MIB = 2 ** 20;
const BDF = /^0000:00:[\da-f]{2}\.0$/;

type Call = (status: number, name: string, body?: unknown) => Promise<unknown>;

function callsOf(client: StrictClient): Call {
  return async (status, name, body) => {
    const answer = await client.put(name, body);
    assert.equal(answer.status, status, `${name}: ${answer.body}`);
    return answer.body === undefined ? undefined : JSON.parse(answer.body);
  };
}

/** First message of the agent. */
async function greeting(socket: string): Promise<string> {
  const agent = connect(socket);
  try {
    agent.write('CONNECT 1024\n');
    const [line] = (await once(agent, 'data')) as [Buffer];
    return line.toString();
  } finally {
    agent.destroy();
  }
}

test('Kata runtime-rs: vm.add-vsock, vm.add-fs, and a VM template', async () => {
  const folder = makeFolder();
  const [image, shared, template] = ['image', 'shared', 'template'].map((name) => join(folder, name));
  const [fs, vsock] = ['fs.sock', 'template.sock'].map((name) => join(folder, name));
  assert.ok(image && shared && template && fs && vsock);
  makeImage(image, 4 * MIB, 'image');
  for (const made of [shared, template]) mkdirSync(made);
  writeFileSync(join(shared, 'container'), 'of the host');
  const payload = { kernel: KERNEL, cmdline: 'console=ttyS0', initramfs: INITRAMFS_WITH_TOOLS };
  const bare = { ...(kataRs({ image, fs, vsock }) as object), payload, fs: null, vsock: null };
  {
    await using _virtiofsd = startFsBackend(fs, shared);
    using terminal = await openTerminal();
    const { shell } = terminal;
    await using vmm = await startVmm({ terminal: terminal.path });
    using client = await connectStrict(vmm.socket);
    const call = callsOf(client);
    await call(204, 'vm.create', bare);
    await call(204, 'vm.boot');
    await shell.login();

    const hybrid = { cid: 3, socket: vsock, iommu: false, id: null, pci_segment: 0 };
    const added = (await within(5000, 'vm.add-vsock', () => call(200, 'vm.add-vsock', hybrid))) as {
      readonly bdf: string;
    };
    assert.match(added.bdf, BDF);
    const driver = `/sys/bus/pci/devices/${added.bdf}/virtio*/driver`;
    await until('its driver has it', async () => (await shell.run(`ls -d ${driver}`)).startsWith('/sys/'));
    await startEcho(shell, 1024);
    assert.match(await greeting(vsock), /^OK \d+\n$/);

    const folderOf = {
      tag: 'kataShared',
      socket: fs,
      num_queues: 1,
      queue_size: 1024,
      id: null,
      pci_segment: 0,
    };
    const { id, bdf } = (await within(5000, 'vm.add-fs', () => call(200, 'vm.add-fs', folderOf))) as {
      readonly id: string;
      readonly bdf: string;
    };
    assert.match(bdf, BDF);
    await shell.run('until mount -t virtiofs kataShared /mnt 2>/dev/null; do :; done');
    assert.equal(await shell.run('cat /mnt/container; umount /mnt'), 'of the host');
    await call(204, 'vm.remove-device', { id });
    await until('the guest has lost it', async () =>
      (await shell.run(`ls -d /sys/bus/pci/devices/${bdf} 2>&1`)).includes('No such'),
    );
    await until(
      'the VMM has taken it back',
      async () => !((await client.get('vm.info')).body ?? '').includes(`_virtio-pci-${id}`),
    );

    await within(1000, 'vm.pause', () => call(204, 'vm.pause'));
    await call(204, 'vm.snapshot', { destination_url: `file://${template}` });
    await call(204, 'vm.resume');
    assert.match(await greeting(vsock), /^OK \d+\n$/);
    await call(204, 'vmm.shutdown');
    assert.equal(await within(3000, 'the end of the process', () => vmm.exited), 0);
  }

  // a sandbox from the template: its own socket is written into a copy of the configuration
  const socket = join(folder, 'sandbox.sock');
  editConfig(template, (config) => ({ ...config, vsock: { ...config.vsock, socket } }));
  using terminal = await openTerminal();
  await using vmm = await startVmm({ terminal: terminal.path });
  using client = await connectStrict(vmm.socket);
  const call = callsOf(client);
  await call(204, 'vm.restore', { source_url: `file://${template}` });
  await call(204, 'vm.resume');
  assert.match(await greeting(socket), /^OK \d+\n$/);
  assert.equal(existsSync(vsock), false);
  await call(204, 'vmm.shutdown');
  assert.equal(await within(3000, 'the end of the process', () => vmm.exited), 0);
});
