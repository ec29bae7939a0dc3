import { struct, type ValueOf } from '../../schema/field.ts';
import { list, readDecimal, uint } from '../../schema/kinds.ts';
import { readTexts } from '../../schema/option-lists.ts';
import { readIntegers } from './integer-list.ts';

const hostCpus = () => list(uint('Host CPUs, by their numbers', { bits: 16 }));

/** Host CPUs that a vCPU runs on. */
export interface CpuAffinity extends ValueOf<typeof CpuAffinity> {}
export const CpuAffinity = struct({
  name: 'CpuAffinity',
  doc: 'Host CPUs that a vCPU runs on',
  fields: {
    vcpu: uint('Number of the vCPU', { bits: 16 }),
    host_cpus: hostCpus(),
  },
});

/** Host CPUs that serve a queue. */
export interface VirtQueueAffinity extends ValueOf<typeof VirtQueueAffinity> {}
export const VirtQueueAffinity = struct({
  name: 'VirtQueueAffinity',
  doc: 'Host CPUs that serve a queue',
  fields: {
    queue_index: uint('Number of the queue', { bits: 16 }),
    host_cpus: hostCpus(),
  },
});

/** Syntax of both on the command line. */
export const AFFINITY_SYNTAX = '[<number>@[<host cpu>,<host cpu>-<host cpu>...],...]';

/** Reads `[0@[0,2-3],1@[1]]`; `name` is the member for the number before the `@`. */
export function readAffinity(name: 'vcpu' | 'queue_index', text: string): unknown[] {
  return readTexts(text).map((item) => {
    const [number = '', cpus, ...rest] = item.split('@');
    if (cpus === undefined || rest.length > 0) throw new Error(`expected ${AFFINITY_SYNTAX}`);
    return { [name]: readDecimal(number.trim(), 65_535), host_cpus: readIntegers(cpus) };
  });
}
