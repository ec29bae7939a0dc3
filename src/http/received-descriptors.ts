import type { ReceivedFiles } from '../api/route.ts';
import { closeAll } from '../native/descriptor-passing.ts';

/** Descriptors of a request, until its handler takes them or the request ends. */
export interface HeldDescriptors extends ReceivedFiles {
  /** Closes the descriptors that were not taken. */
  readonly close: () => void;
}

/** Holds descriptors that arrived with a request. */
export function holdDescriptors(fds: readonly number[]): HeldDescriptors {
  let held = fds;
  const take = (): readonly number[] => {
    const taken = held;
    held = [];
    return taken;
  };
  return { take, close: () => closeAll(take()) };
}
