import type { Step } from '../devices/common/step.ts';
import { mayAccessMemory } from '../qemu/process/memory-access.ts';

/** Returns whether the back-ends of the VMM for devices of these steps can access memory of QEMU that they cannot map. */
export function isAccessible(steps: readonly Step[]): Promise<boolean> {
  const isRoot = process.geteuid?.() === 0;
  // the thread of a directory gives up capabilities: `backends/fs/credentials.ts`
  return mayAccessMemory({ dropsCapabilities: isRoot && steps.some(isFileSystem) });
}

function isFileSystem(step: Step): boolean {
  return step.kind === 'device' && step.props.driver === 'vhost-user-fs-pci';
}
