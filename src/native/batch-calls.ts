import type { AsyncCall, Declare } from './file-calls.ts';
import { SYSCALL } from './syscall-numbers.ts';

/** Calls of io_submit(2), which the C library has no functions for. `context` is the word that `io_setup` writes. */
export interface BatchCalls {
  /** `into` is the address of a word of 0, which becomes the context */
  readonly io_setup: (operations: number, into: number) => number;
  readonly io_destroy: AsyncCall<[context: number]>;
  /** `operations` is an array of addresses of `struct iocb` */
  readonly io_submit: AsyncCall<[context: number, count: number, operations: number]>;
  /** into an array of `struct io_event`; `timeout` is the address of a `struct timespec`, or 0 to wait for `least` of them */
  readonly io_getevents: AsyncCall<
    [context: number, least: number, most: number, into: number, timeout: number]
  >;
}

/** Declares them. */
export function declareBatchCalls(call: Declare): BatchCalls {
  const [one, two] = [call('long syscall(long, size_t)'), call('long syscall(long, long, size_t)')];
  const three = call('long syscall(long, size_t, long, size_t)');
  const five = call('long syscall(long, size_t, long, long, size_t, size_t)');
  return {
    io_setup: (operations, into) => two(SYSCALL.io_setup, operations, into),
    io_destroy: numbered(one, SYSCALL.io_destroy),
    io_submit: numbered(three, SYSCALL.io_submit),
    io_getevents: numbered(five, SYSCALL.io_getevents),
  };
}

type Numbers<A extends readonly number[]> = readonly [number: number, ...rest: A];

/** Returns a system call with its number. */
function numbered<A extends readonly number[]>(syscall: AsyncCall<Numbers<A>>, number: number): AsyncCall<A> {
  const call = (...args: A): number => syscall(number, ...args);
  const onThread: AsyncCall<A>['async'] = (...args) => syscall.async(number, ...args);
  return Object.assign(call, { async: onThread });
}
