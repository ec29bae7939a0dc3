import {
  bounded,
  defaulted,
  documentedAs,
  silentlyDefaulted,
  struct,
  type ValueOf,
} from '../../schema/field.ts';
import { flag, size, text } from '../../schema/kinds.ts';
import { RAM_SIZE } from '../common/limits.ts';

/** A section of SGX enclave memory. */
export interface SgxEpcConfig extends ValueOf<typeof SgxEpcConfig> {}
export const SgxEpcConfig = struct({
  name: 'SgxEpcConfig',
  doc: 'A section of SGX enclave memory',
  fields: {
    id: text('Name of the section', '<id>'),
    // the document requires it, Cloud Hypervisor accepts 0 (and fails at boot)
    size: documentedAs(
      'required',
      silentlyDefaulted(
        bounded(size(`Size in \`bytes\`, a multiple of ${RAM_SIZE.multipleOf}`), RAM_SIZE),
        0,
      ),
    ),
    prefault: defaulted(flag('All pages are allocated at boot'), false),
  },
});
