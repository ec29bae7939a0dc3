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

/** What starting a program with its three standard streams takes for a moment, with some to spare. */
const PROGRAM_DESCRIPTORS = 16;

/**
 * To be called before a program is started. Where descriptors run out in the middle of it, Node loses those of the streams for ever,
 * and tells of the failure by an event of a child without streams.
 * @param streams further streams that it gets
 * @throws the system's error where this process has no descriptors left
 */
export function requireProgramDescriptors(streams = 0): void {
  requireDescriptors(PROGRAM_DESCRIPTORS + 2 * streams);
}
