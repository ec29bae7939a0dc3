import { ApiError } from '../../api/errors.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import type { DiskConfig } from '../../devices/disk/config.ts';
import { usableProcessors } from '../../host/system/cpu-affinity.ts';
import { joinSome } from '../../util/clip.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';

/*
 * Affinity: the host processors on which vCPUs and threads of disk queues run. This file checks the configuration against the
 * host before QEMU starts; `pin-threads.ts` binds the threads of a running QEMU.
 */

const log = createLog('affinity');

/** Checks that the host has processors for the vCPUs. Rejects with ApiError `failed`. */
export async function checkVcpuAffinity({ cpus }: Pick<VmConfig, 'cpus'>): Promise<void> {
  const { affinity = [], max_vcpus: count } = cpus;
  warnAboutUnused(
    'cpus.affinity: there is no vCPU',
    affinity.map(({ vcpu }) => vcpu),
    count,
  );
  for (const { vcpu, host_cpus: wanted } of affinity.filter((item) => item.vcpu < count)) {
    await checkProcessors(`cpus.affinity: vCPU ${vcpu}`, wanted).catch((error: unknown) => {
      throw new ApiError('failed', reasonOf(error), { cause: error });
    });
  }
}

/** Checks that the host has processors for a disk's queues. Rejects with an Error that has the reason only. */
export async function checkQueueAffinity({
  queue_affinity: affinity = [],
  num_queues: count,
}: DiskConfig): Promise<void> {
  warnAboutUnused(
    'queue_affinity: there is no queue',
    affinity.map(({ queue_index: queue }) => queue),
    count,
  );
  for (const { queue_index: queue, host_cpus: wanted } of affinity.filter(
    (item) => item.queue_index < count,
  )) {
    await checkProcessors(`queue_affinity: queue ${queue}`, wanted);
  }
}

/** Logs entries beyond `count`, which have no effect, as in Cloud Hypervisor. */
function warnAboutUnused(what: string, numbers: readonly number[], count: number): void {
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
