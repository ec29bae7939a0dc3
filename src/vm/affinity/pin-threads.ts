import { disk } from '../../devices/disk/index.ts';
import type { DiskConfig } from '../../devices/disk/config.ts';
import { queueThreads } from '../../devices/disk/queue-threads.ts';
import { qemuId, type Placement } from '../../plan/placement.ts';
import { pinThread, usableProcessors } from '../../host/system/cpu-affinity.ts';
import { copyControlGroups, copyProcessors } from '../../host/system/process-placement.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import type { Machine } from '../machine.ts';

const log = createLog('affinity');

/** Binds every vCPU, and every thread of a disk's queues, to its processors. Later vCPUs and disks are bound when they are attached. */
export async function pinThreads(machine: Machine): Promise<void> {
  await pinVcpus(machine);
  for (const placement of machine.layout.placements) await pinQueues(machine.qemu.qmp, placement);
}

/** Binds all vCPUs that QEMU has to the processors of the configuration. */
export async function pinVcpus({ config, qemu }: Pick<Machine, 'config' | 'qemu'>): Promise<void> {
  const { affinity = [] } = config.cpus;
  if (affinity.length === 0) return;
  const threads = await vcpuThreads({ qemu });
  for (const { vcpu, host_cpus: wanted } of affinity) {
    // a vCPU that QEMU lacks is bound when it is attached
    await pin(`vCPU ${vcpu}`, threads.get(vcpu), wanted);
  }
}

/** Places a QEMU and its vCPUs on the host as other programs have placed the QEMU before: control groups and processors. */
export async function copyThreadPlacement(from: Machine, to: Machine): Promise<void> {
  await copyControlGroups(from.qemu.pid, to.qemu.pid);
  const [before, now] = [await vcpuThreads(from), await vcpuThreads(to)];
  for (const [vcpu, thread] of now) {
    const former = before.get(vcpu);
    if (former !== undefined) await copyProcessors(former, thread);
  }
}

async function vcpuThreads({ qemu }: Pick<Machine, 'qemu'>): Promise<ReadonlyMap<number, number>> {
  const vcpus = await qemu.qmp.execute('query-cpus-fast');
  return new Map(vcpus.map((one) => [one['cpu-index'], one['thread-id']]));
}

/** Binds the threads of a disk's queues. */
export async function pinQueues(qmp: Qmp, { device, config, id }: Placement): Promise<void> {
  if (device !== disk || config === true) return;
  // the device of a placement determines the type of its configuration
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const threads = queueThreads(qemuId(id), config as unknown as DiskConfig);
  if (threads.length === 0) return;
  const ioThreads = await qmp.execute('query-iothreads');
  const numbers = new Map(ioThreads.map((one) => [one.id, one['thread-id']]));
  for (const { id: thread, queues, hostCpus } of threads) {
    if (hostCpus !== undefined)
      await pin(`disk ${id}: queue ${queues.join()}`, numbers.get(thread), hostCpus);
  }
}

/** Binds one thread. A failure is logged: the VM runs without it. */
async function pin(what: string, thread: number | undefined, wanted: readonly number[]): Promise<void> {
  if (thread === undefined) return;
  try {
    await pinThread(thread, await usableProcessors(wanted));
  } catch (error) {
    log.warn(`${what} could not be bound to the processors ${wanted.join(', ')}: ${reasonOf(error)}`);
  }
}
