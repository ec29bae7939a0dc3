import type { AsyncCall } from './file-calls.ts';

/** Makes a call of the C library on a thread of the pool. @returns its result; errno is that of the thread, and is lost */
export function onThread<A extends readonly unknown[]>(call: AsyncCall<A>, ...args: A): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error, result) => {
      if (typeof result === 'number') resolve(result);
      else reject(error instanceof Error ? error : new Error('a call on a thread has no result'));
    });
  });
}
