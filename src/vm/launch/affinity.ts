import { ApiError } from '../../api/errors.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { disk } from '../../devices/disk/index.ts';
import type { DiskConfig } from '../../devices/disk/config.ts';
import { queueThreads } from '../../devices/disk/queue-threads.ts';
import { qemuId, type Placement } from '../../plan/placement.ts';
import { pinThread, usableProcessors } from '../../host/system/cpu-affinity.ts';
import { isMessage, type QmpMessage } from '../../qemu/qmp/messages.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { reasonOf } from '../../util/errno.ts';
import { joinSome } from '../../util/clip.ts';
import { createLog } from '../../util/log.ts';
import type { Machine } from './machine.ts';

const log = createLog('affinity');

/** Looks whether the host has processors for the vCPUs. Rejects with ApiError `failed`. */
export async function checkVcpuAffinity({ cpus }: Pick<VmConfig, 'cpus'>): Promise<void> {
  const { affinity = [], max_vcpus: count } = cpus;
  warnOfAbsent(
    'cpus.affinity: there is no vCPU',
    affinity.map(({ vcpu }) => vcpu),
    count,
  );
  for (const { vcpu, host_cpus: wanted } of affinity.filter((item) => item.vcpu < count)) {
    await checkProcessors(`cpus.affinity: vCPU ${vcpu}`, wanted).catch((error: unknown) => {
      throw new ApiError('failed', reasonOf(error));
    });
  }
}

/** The same for a disk's queues. Rejects with the reason. */
export async function checkQueueAffinity({
  queue_affinity: wishes = [],
  num_queues: count,
}: DiskConfig): Promise<void> {
  warnOfAbsent(
    'queue_affinity: there is no queue',
    wishes.map(({ queue_index: queue }) => queue),
    count,
  );
  for (const { queue_index: queue, host_cpus: wanted } of wishes.filter((item) => item.queue_index < count)) {
    await checkProcessors(`queue_affinity: queue ${queue}`, wanted);
  }
}

/** Numbers from `count` on are left out, as by Cloud Hypervisor. */
function warnOfAbsent(what: string, numbers: readonly number[], count: number): void {
  const absent = numbers.filter((number) => number >= count).map(String);
  if (absent.length > 0) log.warn(`${what} ${joinSome(absent, ', ')} (there are ${count})`);
}

async function checkProcessors(what: string, wanted: readonly number[]): Promise<void> {
  const usable = await usableProcessors(wanted).catch((error: unknown) => {
    throw new Error(`${what}: ${reasonOf(error)}`, { cause: error });
  });
  const missing = wanted.filter((one) => !usable.includes(one));
  if (missing.length > 0) log.warn(`${what}: the host has no processor ${missing.join(', ')}`);
}

/** Binds every vCPU that is there, and every thread of a disk's queues; to be called again when one was added. */
export async function pinThreads(machine: Machine): Promise<void> {
  await pinVcpus(machine);
  for (const placement of machine.layout.placements) await pinQueues(machine.qemu.qmp, placement);
}

/** Binds the vCPUs that are there to the processors that the configuration gives them. */
export async function pinVcpus({ config, qemu }: Pick<Machine, 'config' | 'qemu'>): Promise<void> {
  const { affinity = [] } = config.cpus;
  if (affinity.length === 0) return;
  const threads = threadsBy('cpu-index', await qemu.qmp.execute('query-cpus-fast'));
  for (const { vcpu, host_cpus: wanted } of affinity) {
    // one that is not there yet is bound when it is added
    await pin(`vCPU ${vcpu}`, threads.get(vcpu), wanted);
  }
}

/** Binds the threads that serve a disk's queues. */
export async function pinQueues(qmp: Qmp, { device, config, id }: Placement): Promise<void> {
  if (device !== disk || config === true) return;
  // the device of a placement says what its configuration is
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const threads = queueThreads(qemuId(id), config as unknown as DiskConfig);
  if (threads.length === 0) return;
  const numbers = threadsBy('id', await qmp.execute('query-iothreads'));
  for (const { id: thread, queues, hostCpus } of threads) {
    if (hostCpus !== undefined)
      await pin(`disk ${id}: queue ${queues.join()}`, numbers.get(thread), hostCpus);
  }
}

/** The VM runs as well without: what cannot be bound is logged. */
async function pin(what: string, thread: number | undefined, wanted: readonly number[]): Promise<void> {
  if (thread === undefined) return;
  try {
    await pinThread(thread, await usableProcessors(wanted));
  } catch (error) {
    log.warn(`${what} could not be bound to the processors ${wanted.join(', ')}: ${reasonOf(error)}`);
  }
}

/** Numbers of threads on the host, by a member of QEMU's answer. */
function threadsBy(member: string, answer: unknown): ReadonlyMap<unknown, number> {
  const items: readonly QmpMessage[] = Array.isArray(answer) ? answer.filter(isMessage) : [];
  return new Map(items.map((one) => [one[member], Number(one['thread-id'])]));
}
