import type { RuleContext } from '../common/rules.ts';
import { VSOCK_CID, type VsockConfig } from './config.ts';

/** Checks the address of the guest. */
export function checkVsock({ cid }: VsockConfig, { place, report }: RuleContext): void {
  if (cid > VSOCK_CID.maximum) report(`${place}.cid`, `larger than ${VSOCK_CID.maximum}`);
}
