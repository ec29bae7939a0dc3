import { randomBytes } from 'node:crypto';

/** Returns a random locally administered unicast MAC address, with the first byte that Cloud Hypervisor uses. */
export function randomMac(): string {
  return [0x2e, ...randomBytes(5)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
