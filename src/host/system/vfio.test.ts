import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkPassthrough } from './vfio.ts';

/** A tree laid out as sysfs and /dev/vfio are; not the kernel's. */
function fakeSysfs() {
  const root = mkdtempSync(join(tmpdir(), 'fake, "sysfs" é-'));
  const at = (...parts: string[]): string => join(root, ...parts);
  const devices = at('kernel/iommu_groups/7/devices');
  for (const folder of [devices, at('bus/pci'), at('dev')]) mkdirSync(folder, { recursive: true });
  const bind = (bdf: string, driver?: string): void => {
    rmSync(at('devices', bdf, 'driver'), { force: true });
    if (driver !== undefined) symlinkSync(at('drivers', driver), at('devices', bdf, 'driver'));
  };
  const add = (bdf: string, driver?: string): string => {
    mkdirSync(at('devices', bdf), { recursive: true });
    symlinkSync(at('bus/pci'), at('devices', bdf, 'subsystem'));
    symlinkSync(at('kernel/iommu_groups/7'), at('devices', bdf, 'iommu_group'));
    symlinkSync(at('devices', bdf), join(devices, bdf));
    bind(bdf, driver);
    return at('devices', bdf);
  };
  return { root, at, add, bind, [Symbol.dispose]: () => rmSync(root, { recursive: true }) };
}

test('in a fake sysfs: each fault of a device is named with its remedy', async () => {
  using sysfs = fakeSysfs();
  const nodes = sysfs.at('dev');
  const path = sysfs.at('bus/link');
  const fails = (reason: string | RegExp) =>
    assert.rejects(checkPassthrough(path, nodes), (error: unknown) => {
      assert.ok(error instanceof Error && error.message.startsWith(`${path}: `));
      const told = error.message.slice(path.length + 2);
      if (typeof reason === 'string') assert.equal(told, reason);
      else assert.match(told, reason);
      return true;
    });

  await fails('no such file or directory');
  const device = sysfs.add('0000:01:00.0', 'e1000e');
  symlinkSync(device, path);

  await fails('is bound to e1000e: bind it to vfio-pci');
  sysfs.bind('0000:01:00.0');
  await fails('is bound to no driver: bind it to vfio-pci');
  sysfs.bind('0000:01:00.0', 'vfio-pci');

  for (const [function_, driver] of ['pci-stub', 'pcieport', undefined].entries()) {
    sysfs.add(`0000:01:00.${function_ + 1}`, driver);
  }
  sysfs.add('0000:01:00.4', 'snd');
  await fails('IOMMU group 7 is not viable: 0000:01:00.4 is bound to snd: bind it to vfio-pci as well');
  sysfs.bind('0000:01:00.4', 'vfio-pci');

  await fails(/vfio: no such file or directory: load vfio-pci/);
  writeFileSync(join(nodes, 'vfio'), '');
  await fails(/dev\/7: no such file or directory/);
  writeFileSync(join(nodes, '7'), '');
  assert.equal(await checkPassthrough(path, nodes), device);
  assert.equal(await checkPassthrough(`${path}/`, nodes), device);

  unlinkSync(join(device, 'iommu_group'));
  await fails(/^has no IOMMU group: switch the IOMMU on/);
  unlinkSync(join(device, 'subsystem'));
  await fails('is no PCI device in sysfs');
});
