import { loadLibc } from './libc.ts';

/** prctl(2): transparent huge pages for all of a process; children inherit it. */
const PR_SET_THP_DISABLE = 41;

/**
 * Returns a function that runs `start` while transparent huge pages are disabled for this process, so that a process that `start`
 * creates never has them.
 */
export async function withoutHugePages(): Promise<<T>(start: () => T) => T> {
  if (process.platform !== 'linux') return (start) => start();
  const { prctl } = await loadLibc();
  return (start) => {
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    try {
      return start();
    } finally {
      prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
    }
  };
}
