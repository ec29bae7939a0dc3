import type { DeviceNode } from '../api/replies.ts';
import type { Dialect } from '../config/vm-config.ts';
import { bdfOf, qemuId, type Placement } from '../machine/placement.ts';
import type { KnownResources } from './resources.ts';

/** Facts that every node of one VM's tree depends on. */
export interface TreeContext {
  readonly known: KnownResources;
  readonly dialect: Dialect;
}

/**
 * Returns the devices of a running VM by name. A virtio device is carried by the PCI function
 * `_virtio-pci-<id>`, which has its address ranges; a host's device is its own function.
 */
export function deviceTree(
  placements: readonly Placement[],
  context: TreeContext,
): Record<string, DeviceNode> {
  const nodes = [node('_ioapic'), ...placements.flatMap((one) => nodesOf(one, context))];
  return Object.fromEntries(nodes.map((one) => [one.id, one]));
}

function nodesOf({ id, slot, device }: Placement, { known, dialect }: TreeContext): DeviceNode[] {
  if (slot === undefined) return [node(id)];
  const onBus = { pci_bdf: pciBdf(slot, dialect), resources: known.bySlot.get(slot) ?? [] };
  if (device.member === 'devices') return [{ ...node(id), ...onBus }];
  const carrier = `_virtio-pci-${id}`;
  return [
    { ...node(id), parent: carrier, resources: known.memory.get(qemuId(id)) ?? [] },
    { ...node(carrier), ...onBus, children: [id] },
  ];
}

/** Clients of either dialect fail on the other's type. */
function pciBdf(slot: number, dialect: Dialect): number | string {
  return dialect === 'contract' ? slot << 3 : bdfOf(slot);
}

function node(id: string): DeviceNode {
  return { id, resources: [], parent: undefined, children: [], pci_bdf: undefined };
}
