// Members of current clients that the contract does not have, observed in the guest.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { switchFeature } from './support/ethtool.ts';
import { INITRAMFS_WITH_TOOLS as INITRAMFS, KERNEL } from './support/guest.ts';
import { attribute, interfaceName } from './support/host-network.ts';
import { createImage } from './support/images.ts';
import type { Shell } from './support/shell.ts';
import { infoOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';
import { join } from 'node:path';

const UUID = '0f0e0d0c-0b0a-0908-0706-050403020100';

/** vm.create as Kata's Go runtime of today sends it, with members of other current clients. */
function body(image: string, tap: string): Record<string, unknown> {
  return {
    kernel: undefined,
    initramfs: undefined,
    cmdline: undefined,
    payload: { kernel: KERNEL, cmdline: 'console=ttyS0 quiet,x=1', initramfs: INITRAMFS },
    platform: {
      num_pci_segments: 2,
      iommu_segments: [0],
      serial_number: 'S/N 1, "two"',
      uuid: UUID,
      oem_strings: ['io.systemd.credential:a=b,c', 'zwölf'],
      system_manufacturer: 'Maker, "M"',
      system_product_name: 'Product',
      system_version: 'Version',
      system_family: 'Family',
      system_sku_number: 'SKU',
      chassis_asset_tag: 'Tag',
    },
    memory: { size: 2 ** 29, shared: true, hugepages: false },
    cpus: {
      boot_vcpus: 2,
      max_vcpus: 2,
      topology: { threads_per_core: 1, cores_per_die: 2, dies_per_package: 1, packages: 1 },
    },
    rng: { src: '/dev/urandom', iommu: false },
    balloon: { size: 0, free_page_reporting: false },
    disks: [
      {
        path: image,
        readonly: false,
        image_type: 'Raw',
        serial: 'disk "a", ü',
        pci_segment: 0,
        iommu: true,
        sparse: true,
      },
    ],
    net: [{ tap, mtu: 1400, pci_segment: 1, offload_tso: true }],
  };
}

test('a VM with payload', async (t) => {
  await using vmm = await startVmm();
  await t.test('vmm.ping has the members of current releases', async () => {
    const ping = (await vmm.get('vmm.ping')).json as Record<string, unknown>;
    assert.equal(ping['pid'], vmm.pid);
    assert.deepEqual(Object.keys(ping), ['version', 'build_version', 'pid', 'features']);
  });

  const tap = interfaceName();
  const image = createImage(join(vmm.folder, 'a, "b" ü.raw'), '1M', ['-f', 'raw']);
  using shell = await boot(vmm, body(image, tap));
  await t.test('payload.cmdline reaches the guest', async () => {
    assert.match(await shell.run('cat /proc/cmdline'), /^console=ttyS0 quiet,x=1/);
  });
  await t.test('texts of platform are in the SMBIOS tables of the guest', () => hasSmbios(shell));
  await t.test('disks[].serial is the serial number of the disk', async () => {
    const serial = await shell.run('cat /sys/block/vda/serial');
    assert.equal(serial, Buffer.from('disk "a", ü').toString('latin1'));
  });
  await t.test('net[].mtu is set in the guest and on the TAP', async () => {
    assert.equal(await shell.run('cat /sys/class/net/eth0/mtu'), '1400');
    assert.equal(attribute(tap, 'mtu'), '1400');
  });
  await t.test('the driver switches offloads through the control queue', async () => {
    for (const state of ['off', 'on'] as const) {
      assert.equal(await switchFeature(shell, { dev: 'eth0', feature: 'rx-gro-hw', state }), state);
    }
  });
  await t.test('vm.nmi and vmm.nmi interrupt the guest', async () => {
    const nmis = (): Promise<string> => shell.run("awk '/NMI:/ { print $2 }' /proc/interrupts");
    const before = await nmis();
    assertStatus(await vmm.put('vm.nmi'), 204);
    assertStatus(await vmm.put('vmm.nmi'), 204);
    await until('the guest is interrupted', async () => (await nmis()) !== before);
  });

  const { config } = await infoOf(vmm);
  await t.test('vm.info has payload, and platform as configured', () => {
    assert.deepEqual(config['payload'], {
      kernel: KERNEL,
      cmdline: 'console=ttyS0 quiet,x=1',
      initramfs: INITRAMFS,
    });
    for (const old of ['kernel', 'initramfs', 'cmdline']) assert.ok(!(old in config), old);
    assert.deepEqual(config['platform'], body('', '')['platform']);
  });
  assertStatus(await vmm.put('vm.delete'), 204);
  for (const [payload, reason] of [
    [{}, /No bootitem provided/],
    [{ kernel: KERNEL, firmware: KERNEL }, /kernel and firmware are both given/],
  ] as const) {
    await t.test(`a payload is refused: ${reason.source}`, async () => {
      assertRefused(await vmm.put('vm.create', { payload }), 400, reason);
    });
  }
  await t.test('vm.create accepts the configuration that vm.info showed', async () => {
    assertStatus(await vmm.put('vm.create', config), 204);
  });
});

async function hasSmbios(shell: Shell): Promise<void> {
  const dmi = '/sys/class/dmi/id';
  assert.equal(await shell.run(`cat ${dmi}/product_serial ${dmi}/product_uuid`), `S/N 1, "two"\n${UUID}`);
  const names = ['sys_vendor', 'product_name', 'product_version', 'product_family', 'product_sku'];
  const described = [...names, 'chassis_asset_tag'].map((name) => `${dmi}/${name}`).join(' ');
  assert.equal(await shell.run(`cat ${described}`), 'Maker, "M"\nProduct\nVersion\nFamily\nSKU\nTag');
  const strings = await shell.run(
    'cat /sys/firmware/dmi/tables/DMI | tr "\\0" "\\n" | grep -a -c -E "credential:a=b,c|^zw.*lf"',
  );
  assert.equal(strings, '2');
}

test('members without an effect are ignored, and named in the log', async () => {
  await using vmm = await startVmm();
  const device = { path: '/sys/bus/pci/devices/0000:00:1f.7', x_nv_gpudirect_clique: 1 };
  const config = {
    payload: { kernel: KERNEL },
    cpus: {
      boot_vcpus: 1,
      max_vcpus: 1,
      affinity: [{ vcpu: 0, host_cpus: [0] }],
      features: { amx: false },
      nested: true,
      core_scheduling: 'Off',
    },
    memory: { size: 2 ** 28, thp: true, reserve: false },
    balloon: { size: 0, free_page_reporting: true },
    disks: [{ path: '/no/such', queue_affinity: [], sparse: true, lock_granularity: 'Full' }],
    net: [{ offload_tso: true, offload_ufo: true, offload_csum: true }],
    devices: [device],
    platform: { vfio_p2p_dma: true },
    pci_segments: [{ pci_segment: 0, mmio32_aperture_weight: 1 }],
    tpm: { socket: '/no/such' },
    rtc: {},
    pvmemcontrol: {},
    landlock_enable: false,
    landlock_rules: [],
  };
  assertStatus(await vmm.put('vm.create', config), 204);
  assertStatus(await vmm.put('vm.delete'), 204);
  const request = { source_url: 'file:///no/such', memory_restore_mode: 'OnDemand' };
  assertStatus(await vmm.put('vm.restore', request), 500);
  const named = [...vmm.output().matchAll(/unknown fields ignored: (.*?) *$/gm)].map(([, names]) => names);
  assert.deepEqual(
    named.map((names) => names?.split(', ').toSorted()),
    [['cpus.core_scheduling', 'platform.vfio_p2p_dma', 'rtc'], ['memory_restore_mode']],
  );
  // known, and without an effect here
  for (const member of ['disks[0].lock_granularity', 'pci_segments', 'pvmemcontrol']) {
    assert.ok(vmm.output().includes(`vm.create: ${member}: `), member);
  }
});
