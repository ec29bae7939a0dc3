import type { DeviceNode } from '../../api/replies.ts';
import { fixedIdOf, type Dialect } from '../../config/dialect.ts';
import { bdfOf, qemuIdOf, type Placement } from '../../plan/placement.ts';
import type { KnownResources, PciRegion, Resources } from './resources.ts';

/** Input for all nodes of a VM's device tree. */
export interface TreeContext {
  readonly known: KnownResources;
  readonly dialect: Dialect;
}

/**
 * Returns the device tree of a running VM, by name. A virtio device is the child of the PCI function
 * `_virtio-pci-<id>`, which has the address ranges. Any other device is its own function.
 */
export function deviceTree(
  placements: readonly Placement[],
  context: TreeContext,
): Record<string, DeviceNode> {
  const nodes = [
    node(fixedIdOf('_ioapic', context.dialect)),
    ...placements.flatMap((one) => nodesOf(one, context)),
  ];
  return Object.fromEntries(nodes.map((one) => [one.id, one]));
}

function nodesOf(placement: Placement, { known, dialect }: TreeContext): DeviceNode[] {
  const { id, slot, device } = placement;
  if (device.treeNode === 'none') return [];
  if (slot === undefined) return [node(id)];
  const onBus = {
    pci_bdf: pciBdf(slot, dialect),
    resources: (known.bySlot.get(slot) ?? []).map((region) => resourceOf(region, dialect)),
  };
  if (device.treeNode === 'function') return [{ ...node(id), ...onBus }];
  const carrier = `_virtio-pci-${id}`;
  return [
    { ...node(id), parent: carrier, resources: known.memory.get(qemuIdOf(placement)) ?? [] },
    { ...node(carrier), ...onBus, children: [id] },
  ];
}

/** Returns the PCI address in the type of the dialect: clients of one dialect fail on the type of the other. */
function pciBdf(slot: number, { hasTextBdf }: Dialect): number | string {
  return hasTextBdf ? bdfOf(slot) : slot << 3;
}

function resourceOf(
  { bar, type, base, size, prefetchable }: PciRegion,
  { hasBars }: Dialect,
): Resources[number] {
  if (hasBars) return { PciBar: { index: bar, base, size, type_: type, prefetchable } };
  return { [type === 'Io' ? 'PioAddressRange' : 'MmioAddressRange']: { base, size } };
}

function node(id: string): DeviceNode {
  return { id, resources: [], parent: undefined, children: [], pci_bdf: undefined };
}
