import { access, constants } from 'node:fs/promises';
import { reasonOf } from '../../util/errno.ts';

/** What the kernel offers where the processor has SGX: memory for enclaves of guests, and the right to attest them. */
const DEVICES = ['/dev/sgx_vepc', '/dev/sgx_provision'] as const;

/**
 * Looks whether the host can give enclave memory to guests.
 * @throws with what is missing
 */
export async function checkSgx(accelerator: string): Promise<void> {
  const missing: string[] = [];
  for (const device of DEVICES) {
    await access(device, constants.R_OK | constants.W_OK).catch((error: unknown) => {
      missing.push(`${device}: ${reasonOf(error)}`);
    });
  }
  if (missing.length > 0) throw new Error(`${missing.join(', ')} (the host has no SGX to give)`);
  if (accelerator !== 'kvm') throw new Error(`SGX needs KVM, the machine would run on ${accelerator}`);
}
