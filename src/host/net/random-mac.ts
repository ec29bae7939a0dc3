import { randomBytes } from 'node:crypto';

/** A locally administered unicast MAC address, with the first byte of the original's. */
export function randomMac(): string {
  return [0x2e, ...randomBytes(5)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
