import { vfio } from '../../../devices/vfio/index.ts';
import { checkPassthrough } from '../../../host/system/vfio.ts';
import { createLog } from '../../../util/log.ts';
import { prepares } from '../prepare.ts';

const log = createLog('device');

export const prepareVfio = prepares(vfio, async ({ path, iommu }, { id, vm }) => {
  const sysfs = await checkPassthrough(path);
  if (vm.iommu && !iommu) log.warn(`device ${id}: is behind the vIOMMU, as every passed-through device is`);
  return { facts: { sysfs } };
});
