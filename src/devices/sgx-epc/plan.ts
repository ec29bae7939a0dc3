import type { Properties } from '../common/machine-plan.ts';
import type { ObjectStep } from '../common/step.ts';
import type { SgxEpcConfig } from './config.ts';

/** Plan of a machine's sections: the objects with their memory, and properties of the machine and its vCPUs. */
export interface SgxPlan {
  readonly steps: readonly ObjectStep[];
  readonly machine: Properties;
  readonly cpu: Properties;
}

/** Plans all sections; `nodeOf` returns QEMU's number of the guest's NUMA node that a section belongs to. */
export function planSgx(sections: readonly SgxEpcConfig[], nodeOf: (id: string) => number): SgxPlan {
  const machine = sections.flatMap(({ id }, i) => [
    [`sgx-epc.${i}.memdev`, `epc${i}`],
    [`sgx-epc.${i}.node`, nodeOf(id)],
  ]);
  return {
    steps: sections.map(({ size, prefault }, i) => ({
      kind: 'object',
      props: { 'qom-type': 'memory-backend-epc', id: `epc${i}`, size, share: true, prealloc: prefault },
    })),
    machine: Object.fromEntries(machine),
    cpu: sections.length === 0 ? {} : { 'sgx-provisionkey': true },
  };
}
