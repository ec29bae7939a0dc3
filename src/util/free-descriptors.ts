import { closeSync, openSync } from 'node:fs';

/**
 * Checks that this process can open so many descriptors at once.
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

/** Descriptors that the start of a program with its three standard streams takes for a moment, and some to spare. */
const PROGRAM_DESCRIPTORS = 16;

/**
 * To be called before a program is started. Where descriptors run out during the start, Node never closes those of the streams,
 * and reports the failure by an event of a child without streams.
 * @param streams number of further streams of the program
 * @throws the system's error where this process has no descriptors left
 */
export function requireProgramDescriptors(streams = 0): void {
  requireDescriptors(PROGRAM_DESCRIPTORS + 2 * streams);
}
