import {
  defaulted,
  documentedAs,
  later,
  optional,
  silentlyDefaulted,
  struct,
  type ValueOf,
} from '../schema/field.ts';
import { flag, list, nested, size, text } from '../schema/kinds.ts';
import { defineDevice } from './device.ts';

/** A section of SGX enclave memory. */
export interface SgxEpcConfig extends ValueOf<typeof SgxEpcConfig> {}
export const SgxEpcConfig = struct({
  name: 'SgxEpcConfig',
  doc: 'A section of SGX enclave memory',
  fields: {
    id: text('Name of the section', '<id>'),
    // the document requires it, the original takes 0 (and fails at boot)
    size: documentedAs('required', silentlyDefaulted(size('Size in `bytes`, a multiple of 4096'), 0)),
    prefault: defaulted(flag('All pages are taken from the host at once'), false),
  },
});

export const sgxEpc = defineDevice({
  member: 'sgx_epc',
  field: later(optional(list(nested(SgxEpcConfig)))),
  struct: SgxEpcConfig,
  many: true,
  flag: 'sgx-epc',
  ids: undefined,
  takesSlot: false,
  removable: false,
});
