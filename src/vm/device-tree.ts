import type { DeviceNode } from '../api/replies.ts';
import { qemuId, type Placement } from '../machine/placement.ts';
import type { KnownResources } from './resources.ts';

/**
 * The devices of a running VM by name (reference/api.md 6). A virtio device is carried by the PCI function
 * `_virtio-pci-<id>`, which has its address ranges; one of the host's is its own function. `pci_bdf` is the slot times 8.
 */
export function deviceTree(
  placements: readonly Placement[],
  known: KnownResources,
): Record<string, DeviceNode> {
  const nodes = [node('_ioapic'), ...placements.flatMap((one) => nodesOf(one, known))];
  return Object.fromEntries(nodes.map((one) => [one.id, one]));
}

function nodesOf({ id, slot, device }: Placement, { bySlot, memory }: KnownResources): DeviceNode[] {
  if (slot === undefined) return [node(id)];
  const onBus = { pci_bdf: slot << 3, resources: bySlot.get(slot) ?? [] };
  if (device.member === 'devices') return [{ ...node(id), ...onBus }];
  const carrier = `_virtio-pci-${id}`;
  return [
    { ...node(id), parent: carrier, resources: memory.get(qemuId(id)) ?? [] },
    { ...node(carrier), ...onBus, children: [id] },
  ];
}

function node(id: string): DeviceNode {
  return { id, resources: [], parent: undefined, children: [], pci_bdf: undefined };
}
