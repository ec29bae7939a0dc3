/** pjdfstest, a test of POSIX file systems (crate `pjdfstest`), in a guest that has it in /opt/bin. */
import assert from 'node:assert/strict';
import type { Shell } from './shell.ts';

/** Configuration of pjdfstest, which {@link pjdfstestFailures} expects at /opt/pjdfstest.toml. */
export const PJDFSTEST_CONFIG = `
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
# seconds, more than the granularity of timestamps
naptime = 0.02
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
`;

/** Result of a run. */
export interface PjdfstestResult {
  /** names of the failed tests, sorted */
  readonly failed: readonly string[];
  readonly summary: string;
}

/** Runs all tests in a directory of the guest; another file system is at /media. */
export async function pjdfstestFailures(
  shell: Shell,
  folder: string,
  timeoutMs: number,
): Promise<PjdfstestResult> {
  const shown = await shell.run(
    `NO_COLOR=1 /opt/bin/pjdfstest -c /opt/pjdfstest.toml -s /media -p ${folder} 2>&1`,
    timeoutMs,
  );
  const summary = /^Summary: .*$/m.exec(shown)?.[0];
  assert.ok(summary !== undefined, shown.slice(-4000));
  const failed = [...shown.matchAll(/^(\S+::\S+)\s+FAILED/gm)].map(([, name = '']) => name);
  assert.equal(failed.length, Number(/(\d+) failed/.exec(summary)?.[1]), shown.slice(-4000));
  return { failed: failed.toSorted(), summary };
}
