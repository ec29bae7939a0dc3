import type { DeviceNode } from '../api/replies.ts';
import type { Placement } from '../machine/placement.ts';

/**
 * The devices of a running VM by name (reference/api.md 6): a virtio device is carried by the PCI function
 * `_virtio-pci-<id>`. `pci_bdf` is the slot times 8.
 */
export function deviceTree(placements: readonly Placement[]): Record<string, DeviceNode> {
  const nodes = [node('_ioapic'), ...placements.flatMap(nodesOf)];
  return Object.fromEntries(nodes.map((one) => [one.id, one]));
}

function nodesOf({ id, slot }: Placement): DeviceNode[] {
  if (slot === undefined) return [node(id)];
  const carrier = `_virtio-pci-${id}`;
  return [
    { ...node(id), parent: carrier },
    { ...node(carrier), children: [id], pci_bdf: slot << 3 },
  ];
}

function node(id: string): DeviceNode {
  return { id, resources: [], parent: undefined, children: [], pci_bdf: undefined };
}
