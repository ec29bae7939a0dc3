import type { Step } from '../../../devices/common/step.ts';

/** Returns the block node that the guest's device has, from the steps of a disk. A limit on top of the image passes a new size on. */
export function topNode(steps: readonly Step[] = []): string {
  const drives = steps.flatMap((step) => (step.kind === 'device' ? [step.props['drive']] : []));
  return String(drives[0]);
}
