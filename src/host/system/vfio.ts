import { constants } from 'node:fs';
import { access, readdir, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { resolveLinks } from '../../util/path-calls.ts';

/** Drivers whose devices may share an IOMMU group with one that is passed through: none of them starts DMA. */
const HARMLESS = ['vfio-pci', 'pci-stub', 'pcieport'] as const;

/**
 * Checks that a PCI device of the host can be passed through to a guest: it is a PCI device, the host's IOMMU isolates it, no other
 * driver uses it or its group, and this user may open it.
 * Rejects with the path and the remedy.
 * @param nodes folder of VFIO's device nodes
 * @returns the device's folder in sysfs, without links
 */
export async function checkPassthrough(path: string, nodes = '/dev/vfio'): Promise<string> {
  const fail = (reason: string): never => {
    throw new Error(`${path}: ${reason}`);
  };
  const sysfs = await resolveLinks(path).catch((error: unknown) => fail(reasonOf(error)));
  if ((await linkName(sysfs, 'subsystem')) !== 'pci') fail('is no PCI device in sysfs');
  const group = await linkName(sysfs, 'iommu_group');
  if (group === undefined) {
    return fail('has no IOMMU group: switch the IOMMU on in the host’s firmware and kernel (intel_iommu=on)');
  }
  const driver = await linkName(sysfs, 'driver');
  if (driver !== 'vfio-pci') fail(`${boundTo(driver)}: bind it to vfio-pci`);
  for (const other of await readdir(join(sysfs, 'iommu_group', 'devices'))) {
    const its = await linkName(join(sysfs, 'iommu_group', 'devices', other), 'driver');
    if (its === undefined || HARMLESS.some((one) => one === its)) continue;
    fail(`IOMMU group ${group} is not viable: ${other} ${boundTo(its)}: bind it to vfio-pci as well`);
  }
  for (const node of [join(nodes, 'vfio'), join(nodes, group)]) {
    await access(node, constants.R_OK | constants.W_OK).catch((error: unknown) =>
      fail(`${node}: ${reasonOf(error)}: load vfio-pci, and give this user the right to read and write it`),
    );
  }
  return sysfs;
}

function boundTo(driver: string | undefined): string {
  return driver === undefined ? 'is bound to no driver' : `is bound to ${driver}`;
}

/** Returns the last part of a link's target, which is the name of a device's driver, group or subsystem in sysfs. */
async function linkName(folder: string, link: string): Promise<string | undefined> {
  try {
    return basename(await readlink(join(folder, link)));
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
