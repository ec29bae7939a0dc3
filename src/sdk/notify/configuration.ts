import type { VmConfigInput } from '../../config/vm-config.ts';
import { NOTIFY_CREDENTIAL } from './listener.ts';

/** Returns the socket of a VM's vsock. @throws Error if it has none */
export function vsockOf({ vsock }: VmConfigInput): string {
  if (vsock?.socket !== undefined) return vsock.socket;
  throw new Error('a VM with `notify` needs a vsock');
}

/** Adds the credential with the address of this process to a configuration. */
export function withNotifyCredential(config: VmConfigInput): VmConfigInput {
  const strings = config.platform?.oem_strings ?? [];
  return { ...config, platform: { ...config.platform, oem_strings: [...strings, NOTIFY_CREDENTIAL] } };
}
