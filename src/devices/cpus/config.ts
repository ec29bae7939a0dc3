import {
  bounded,
  beyond,
  defaulted,
  documentedAs,
  optional,
  struct,
  wordDefaulted,
  worded,
  type Field,
  type ValueOf,
} from '../../schema/field.ts';
import { flag, list, nested, readDecimal, uint } from '../../schema/kinds.ts';
import { readTexts } from '../../schema/option-lists.ts';
import { AFFINITY_SYNTAX, CpuAffinity, readAffinity } from '../common/host-cpus.ts';

/** Number of one part of a CPU topology. */
const TOPOLOGY_PART = { minimum: 1 } as const;

const part = (doc: string) => documentedAs('optional', bounded(uint(doc, { bits: 8 }), TOPOLOGY_PART));

/** Topology of the vCPUs; the product of the four is `max_vcpus`. */
export interface CpuTopology extends ValueOf<typeof CpuTopology> {}
export const CpuTopology = struct({
  name: 'CpuTopology',
  doc: 'Arrangement of the vCPUs: the product of the four is max_vcpus',
  fields: {
    threads_per_core: part('Threads of a core'),
    cores_per_die: part('Cores of a die'),
    dies_per_package: part('Dies of a package'),
    packages: part('Packages (sockets)'),
  },
});

/** Features of the processor that are off by default. */
export interface CpuFeatures extends ValueOf<typeof CpuFeatures> {}
export const CpuFeatures = struct({
  name: 'CpuFeatures',
  doc: 'Features of the processor that must be asked for',
  fields: {
    amx: defaulted(flag('Matrix instructions (AMX); needs KVM and a processor that has them'), false),
  },
});

export interface CpusConfig extends ValueOf<typeof CpusConfig> {}
export const CpusConfig = struct({
  name: 'CpusConfig',
  doc: 'vCPUs: their number at boot, the largest number, and their topology',
  wordsIgnored: ['core_scheduling', 'profile'],
  keyHints: {
    count: 'boot',
    cores: 'boot',
    cpus: 'boot',
    num: 'boot',
    smp: 'boot',
    vcpus: 'boot',
    boot_vcpus: 'boot',
    max_vcpus: 'max',
    maxcpus: 'max',
  },
  fields: {
    boot_vcpus: vcpus('boot', 'vCPUs at boot', () => 1),
    max_vcpus: vcpus('max', 'vCPUs that the VM can be resized to', (members) => members['boot_vcpus']),
    topology: optional({
      ...nested(CpuTopology),
      read: readTopology,
      syntax: '<threads_per_core>:<cores_per_die>:<dies_per_package>:<packages>',
    }),
    kvm_hyperv: beyond(defaulted(flag('Hyper-V interfaces for Windows guests; needs KVM'), false)),
    max_phys_bits: optional(
      uint('Largest physical address in `bits`; the smaller of this and what the host has', { bits: 8 }),
    ),
    affinity: beyond(
      optional(list(nested(CpuAffinity), (text) => readAffinity('vcpu', text), AFFINITY_SYNTAX)),
    ),
    nested: beyond(
      optional(flag('The guest can run virtual machines of its own, where the host can; default: on')),
    ),
    features: beyond(optional({ ...nested(CpuFeatures), read: readFeatures, syntax: '[amx]' })),
  },
});

function vcpus(word: string, doc: string, byDefault: NonNullable<Field['wordDefault']>) {
  const count = uint(doc, { bits: 8, min: 1, document: { minimum: 1, default: 1 } });
  return worded(word, wordDefaulted(count, byDefault));
}

function readTopology(text: string): unknown {
  const [threads, cores, dies, packages, ...rest] = text.split(':').map((one) => readDecimal(one, 255));
  if (packages === undefined || rest.length > 0) {
    throw new Error('expected <threads_per_core>:<cores_per_die>:<dies_per_package>:<packages>');
  }
  return { threads_per_core: threads, cores_per_die: cores, dies_per_package: dies, packages };
}

function readFeatures(text: string): unknown {
  const names = readTexts(text);
  if (names.some((name) => name !== 'amx')) throw new Error('expected amx');
  return { amx: names.includes('amx') };
}
