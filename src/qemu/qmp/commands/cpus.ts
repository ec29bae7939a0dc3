import * as v from 'valibot';
import { query } from '../command.ts';

const HotpluggableCpu = v.object({
  /** QOM type of the vCPU */
  type: v.string(),
  /** place in the topology, e.g. `core-id`: properties for `device_add` */
  props: v.record(v.string(), v.number()),
  /** QOM path of the vCPU; absent while the place is free */
  'qom-path': v.optional(v.string()),
});

const CpuInfo = v.object({ 'cpu-index': v.number(), 'thread-id': v.number() });
const IoThread = v.object({ id: v.string(), 'thread-id': v.number() });

/** vCPUs and I/O threads; `thread-id` is the thread's id on the host. */
export const cpuCommands = {
  'query-hotpluggable-cpus': query(v.array(HotpluggableCpu)),
  'query-cpus-fast': query(v.array(CpuInfo)),
  'query-iothreads': query(v.array(IoThread)),
};
