import type { DiskConfig } from './config.ts';
import type { ObjectStep, StepProps } from '../common/step.ts';

/** A thread of QEMU that serves queues, and the processors of the host that it runs on. */
export interface QueueThread {
  /** id of QEMU's object */
  readonly id: string;
  readonly queues: readonly number[];
  /** processors; undefined: any */
  readonly hostCpus: readonly number[] | undefined;
}

type Queues = Pick<DiskConfig, 'num_queues' | 'queue_affinity'>;

/**
 * Returns the threads of a disk with `queue_affinity`: one for each queue that is listed, and one for all others. Queues that
 * the disk does not have are left out.
 */
export function queueThreads(
  qemuId: string,
  { num_queues: count, queue_affinity: all = [] }: Queues,
): QueueThread[] {
  const wishes = all.filter(({ queue_index: queue }) => queue < count);
  if (wishes.length === 0) return [];
  const listed = wishes.map(({ queue_index: queue, host_cpus: hostCpus }) => ({
    id: `${qemuId}.q${queue}`,
    queues: [queue],
    hostCpus,
  }));
  const taken = new Set(wishes.map(({ queue_index: queue }) => queue));
  const rest = Array.from({ length: count }, (_, queue) => queue).filter((queue) => !taken.has(queue));
  return rest.length === 0 ? listed : [...listed, { id: `${qemuId}.q`, queues: rest, hostCpus: undefined }];
}

/** Plans the threads and the device's property that maps queues to them; both are empty for a disk without threads. */
export function planQueueThreads(
  qemuId: string,
  config: Queues,
): { readonly steps: readonly ObjectStep[]; readonly props: StepProps } {
  const threads = queueThreads(qemuId, config);
  if (threads.length === 0) return { steps: [], props: {} };
  return {
    steps: threads.map(({ id }) => ({ kind: 'object', props: { 'qom-type': 'iothread', id } })),
    props: { 'iothread-vq-mapping': threads.map(({ id, queues }) => ({ iothread: id, vqs: queues })) },
  };
}
