import type { Shell } from './shell.ts';

/**
 * The sizes of a virtio device's queues as its registers say (virtio 1.2, 4.1.4.3): num_queues at 0x12, queue_select at
 * 0x16, queue_size at 0x18 of the fifth BAR. The guest needs `iomem=relaxed`.
 */
export async function queueSizes(shell: Shell, bdf: string): Promise<number[]> {
  const count = '$(devmem $(($1 + 0x12)) 16)';
  const text = await shell.run(
    `set -- $(sed -n 5p /sys/bus/pci/devices/${bdf}/resource); i=0; while [ $i -lt $((${count})) ]; do ` +
      'devmem $(($1 + 0x16)) 16 $i; devmem $(($1 + 0x18)) 16; i=$((i + 1)); done',
  );
  return text.split('\n').map(Number);
}
