import { closeSync, openSync } from 'node:fs';

/**
 * Makes sure that this process can open so many descriptors at once.
 * @throws the system's error where it cannot
 */
export function requireDescriptors(count: number): void {
  const held: number[] = [];
  try {
    while (held.length < count) held.push(openSync('/dev/null', 'r'));
  } finally {
    for (const fd of held) closeSync(fd);
  }
}
