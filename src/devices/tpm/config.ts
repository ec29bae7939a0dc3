import { bounded, struct, type ValueOf } from '../../schema/field.ts';
import { path } from '../../schema/kinds.ts';
import { NOT_EMPTY } from '../common/limits.ts';

/** A TPM of the guest, which a program on the host (swtpm) emulates. */
export interface TpmConfig extends ValueOf<typeof TpmConfig> {}
export const TpmConfig = struct({
  name: 'TpmConfig',
  doc: 'A TPM 2.0 of the guest (CRB), which swtpm on the host emulates',
  keyHints: { path: 'socket', ctrl: 'socket' },
  fields: { socket: bounded(path('Control socket of swtpm'), NOT_EMPTY) },
});
