// Guest memory for tests, which they read and write as the guest does, in the two ways in which a back-end reaches it.
import { closeSync, constants, ftruncateSync, openSync } from 'node:fs';
import { libc } from '../../native/libc.ts';
import { mapShared, unmap, viewOf } from '../../native/memory.ts';
import { GuestMemory } from './guest-memory.ts';

/** `mapped`: the back-end maps it. `process`: it copies it from the process that has it, which is this one. */
export type MemoryAccess = 'mapped' | 'process';

export const ACCESSES: readonly MemoryAccess[] = ['mapped', 'process'];

export interface TestMemory extends Disposable {
  readonly memory: GuestMemory;
  /** its bytes, as the guest has them */
  readonly ram: DataView;
  /** address of the first byte in the address space of the front-end, in which ring addresses are */
  readonly user: number;
  /** address of the first byte that the back-end uses */
  readonly base: number;
}

let usual: MemoryAccess = 'mapped';

/** Sets the way that tests without one of their own use, for the rest of this process. */
export function useAccess(access: MemoryAccess): void {
  usual = access;
}

/** Makes guest memory of whole pages at a guest address. */
export function makeMemory(
  bytes: number,
  { access = usual, guestAddress = 0 }: { access?: MemoryAccess; guestAddress?: number } = {},
): TestMemory {
  const fd = libc().memfd_create('guest', 0);
  ftruncateSync(fd, bytes);
  const user = mapShared(fd, bytes);
  const memory = new GuestMemory();
  const region = { guestAddress, size: bytes, userAddress: user, offset: 0 };
  if (access === 'mapped') memory.add(region, fd);
  else {
    const readOnly = openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY);
    memory.add(region, readOnly, process.pid);
    closeSync(readOnly);
  }
  closeSync(fd);
  return {
    memory,
    user,
    ram: viewOf(user, bytes),
    base: memory.ofUser(user, bytes) ?? 0,
    [Symbol.dispose]: () => {
      memory.clear();
      unmap(user, bytes);
    },
  };
}
