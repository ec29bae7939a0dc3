import { loadNative } from './load.ts';

/** prctl(2): transparent huge pages for all of a process; children inherit it. */
const PR_SET_THP_DISABLE = 41;

/**
 * Returns a function that runs `start` while this process has no transparent huge pages, so that a process that is
 * started has none for ever.
 */
export async function withoutHugePages(): Promise<<T>(start: () => T) => T> {
  if (process.platform !== 'linux') return (start) => start();
  const { libc } = await loadNative();
  const prctl = libc.func('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)');
  return (start) => {
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    try {
      return start();
    } finally {
      prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
    }
  };
}
