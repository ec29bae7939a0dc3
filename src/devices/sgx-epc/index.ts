import {
  bounded,
  defaulted,
  documentedAs,
  optional,
  silentlyDefaulted,
  struct,
  type ValueOf,
} from '../../schema/field.ts';
import { flag, list, nested, size, text } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import type { Properties } from '../common/machine-plan.ts';
import type { ObjectStep } from '../common/step.ts';
import { RAM_SIZE } from '../common/limits.ts';

/** A section of SGX enclave memory. */
export interface SgxEpcConfig extends ValueOf<typeof SgxEpcConfig> {}
export const SgxEpcConfig = struct({
  name: 'SgxEpcConfig',
  doc: 'A section of SGX enclave memory',
  fields: {
    id: text('Name of the section', '<id>'),
    // the document requires it, the original takes 0 (and fails at boot)
    size: documentedAs(
      'required',
      silentlyDefaulted(bounded(size('Size in `bytes`, a multiple of 4096'), RAM_SIZE), 0),
    ),
    prefault: defaulted(flag('All pages are taken from the host at once'), false),
  },
});

export const sgxEpc = defineDevice({
  member: 'sgx_epc',
  field: optional(list(nested(SgxEpcConfig))),
  struct: SgxEpcConfig,
  many: true,
  flag: 'sgx-epc',
  ids: undefined,
  takesSlot: false,
  removable: false,
});

/** The sections of a machine: what holds them, and what the machine and its vCPUs are told of them. */
export interface SgxPlan {
  readonly steps: readonly ObjectStep[];
  readonly machine: Properties;
  readonly cpu: Properties;
}

/** Plans all sections; `nodeOf` says by QEMU's number which NUMA node of the guest one belongs to. */
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
