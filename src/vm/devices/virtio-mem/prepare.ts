import { virtioMem } from '../../../devices/virtio-mem/index.ts';
import { nodeOfZone } from '../../../plan/memory-layout.ts';
import { prepares } from '../prepare.ts';

export const prepareVirtioMem = prepares(virtioMem, async (zone, { vm }) => ({
  facts: { node: nodeOfZone(vm, zone.id) },
}));
