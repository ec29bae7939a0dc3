import type { RuleContext } from '../common/rules.ts';
import type { TpmConfig } from './config.ts';

/** Checks that the TPM's emulator has a socket. */
export function checkTpm({ socket }: TpmConfig, { place, report }: RuleContext): void {
  if (socket === '') report(`${place}.socket`, 'must not be empty');
}
