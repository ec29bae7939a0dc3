import { configuredSlot, FIRST_SLOT, LAST_SLOT } from '../devices/common/pci.ts';
import type { Report } from '../devices/common/rules.ts';
import { deviceItems } from './items.ts';
import { duplicates } from '../util/duplicates.ts';
import type { VmConfig } from './vm-config.ts';

/** Checks that the slots that devices ask for are on the bus, and that no two devices ask for one slot. */
export function checkSlots(config: VmConfig, report: Report): void {
  const asked = deviceItems(config).flatMap((item) => {
    const slot = configuredSlot(item);
    return slot === undefined ? [] : [{ slot, place: item.place }];
  });
  for (const { slot, place } of asked) {
    const refusal = refusalOf(slot);
    if (refusal !== undefined) report(`${place}.pci_device_id`, refusal);
  }
  for (const { index, value, first } of duplicates(asked.map(({ slot }) => slot))) {
    const place = `${asked[index]?.place}.pci_device_id`;
    report(
      place,
      `Valid PCI device identifier but already used: ${value}: it is that of ${asked[first]?.place}`,
    );
  }
}

/** Returns the reason why a device cannot have a slot; undefined if it can. Texts begin with those of Cloud Hypervisor. */
function refusalOf(slot: number): string | undefined {
  const possible = `${FIRST_SLOT} to ${LAST_SLOT} are possible`;
  if (slot > LAST_SLOT) {
    return `Given PCI device ID (${slot}) is out of the supported range of 0..${LAST_SLOT + 1}: ${possible}`;
  }
  const owner = slot === 0 ? 'for the host bridge' : 'for the chip set';
  return slot < FIRST_SLOT ? `Given PCI device ID (${slot}) is reserved ${owner}: ${possible}` : undefined;
}
