import type { VmConfig } from '../../config/vm-config.ts';
import type { ThreadName } from '../../util/start-thread.ts';

/** Returns the threads that serve the devices of a VM: a start of one takes longer than to read a snapshot. */
export function threadsOf({ vsock, fs = [] }: VmConfig): ThreadName[] {
  const directories = fs.filter(({ directory }) => directory !== undefined);
  return [
    ...(vsock === undefined ? [] : (['vsock-worker'] as const)),
    ...directories.map(() => 'fs-worker' as const),
  ];
}
