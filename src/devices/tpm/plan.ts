import type { Step } from '../common/step.ts';
import type { PlanContext } from '../device.ts';
import type { TpmConfig } from './config.ts';

/** Host facts of a TPM: the connection to its emulator. */
export interface TpmFacts {
  readonly fd: number;
}

/** Plans the TPM, its emulator’s connection first. */
export function planTpm(_config: TpmConfig, at: PlanContext<TpmFacts>): readonly Step[] {
  return [
    { kind: 'chardev', id: at.qemuId, backend: { type: 'descriptor', fd: at.facts.fd, server: false } },
    { kind: 'tpmdev', id: `${at.qemuId}.dev`, chardev: at.qemuId },
    { kind: 'device', props: { driver: 'tpm-crb', tpmdev: `${at.qemuId}.dev` } },
  ];
}
