import { access, constants } from 'node:fs/promises';
import { reasonOf } from '../../util/errno.ts';

/** Devices of the kernel for SGX: enclave memory of guests, and attestation. */
const DEVICES = ['/dev/sgx_vepc', '/dev/sgx_provision'] as const;

/**
 * Checks that the host has enclave memory for guests.
 * @throws with the missing devices
 */
export async function checkSgx(accelerator: string): Promise<void> {
  const missing: string[] = [];
  for (const device of DEVICES) {
    await access(device, constants.R_OK | constants.W_OK).catch((error: unknown) => {
      missing.push(`${device}: ${reasonOf(error)}`);
    });
  }
  if (missing.length > 0) throw new Error(`${missing.join(', ')} (the host has no SGX for guests)`);
  if (accelerator !== 'kvm') throw new Error(`SGX needs KVM, the machine would run on ${accelerator}`);
}
