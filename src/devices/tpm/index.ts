import { bounded, beyond, optional, struct, type ValueOf } from '../../schema/field.ts';
import { nested, path } from '../../schema/kinds.ts';
import { defineDevice, type PlanContext } from '../device.ts';
import { NOT_EMPTY } from '../common/limits.ts';

/** A TPM of the guest, which a program on the host (swtpm) emulates. */
export interface TpmConfig extends ValueOf<typeof TpmConfig> {}
export const TpmConfig = struct({
  name: 'TpmConfig',
  doc: 'A TPM 2.0 of the guest (CRB), which swtpm on the host emulates',
  wordsMeant: { path: 'socket', ctrl: 'socket' },
  fields: { socket: bounded(path('Control socket of swtpm'), NOT_EMPTY) },
});

/** The connection to the program that emulates the TPM. */
export interface TpmFacts {
  readonly fd: number;
}

export const tpm = defineDevice({
  member: 'tpm',
  field: beyond(optional(nested(TpmConfig))),
  struct: TpmConfig,
  many: false,
  flag: 'tpm',
  ids: { fixed: '_tpm' },
  takesSlot: false,
  removable: false,
  unsaved: () => 'its emulator (swtpm) has state of its own',
  plan: (_, at: PlanContext<TpmFacts>) => [
    { kind: 'chardev', id: at.qemuId, backend: { type: 'descriptor', fd: at.facts.fd, server: false } },
    { kind: 'tpmdev', id: `${at.qemuId}.dev`, chardev: at.qemuId },
    { kind: 'device', props: { driver: 'tpm-crb', tpmdev: `${at.qemuId}.dev` } },
  ],
});
