import type { ReceivedFiles } from '../api/route.ts';
import { closeAll } from '../native/descriptor-passing.ts';

/** A request's descriptors, until somebody takes them or the request is done with. */
export interface HeldDescriptors extends ReceivedFiles {
  /** Closes what nobody took. */
  readonly close: () => void;
}

/** Holds descriptors that came with a request. */
export function holdDescriptors(fds: readonly number[]): HeldDescriptors {
  let held = fds;
  const take = (): readonly number[] => {
    const taken = held;
    held = [];
    return taken;
  };
  return { take, close: () => closeAll(take()) };
}
