import { serial } from '../../../devices/serial/index.ts';
import { createLog } from '../../../util/log.ts';
import { prepares } from '../prepare.ts';

const log = createLog('serial');

export const prepareSerial = prepares(serial, async ({ iommu, pci_device_id: slot }) => {
  if (slot !== undefined) log.warn('pci_device_id: a serial port is not on the PCI bus');
  if (iommu) log.warn('iommu: a serial port moves no data by itself: there is nothing to translate');
  return { facts: undefined };
});
