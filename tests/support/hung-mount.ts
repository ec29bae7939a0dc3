import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';

/** A mounted file system that never answers, like a network mount without its server. */
export interface HungMount extends Disposable {
  readonly path: string;
}

/** Mounts a FUSE file system whose server reads no request. Needs root and /dev/fuse. */
export function mountHung(path: string): HungMount {
  mkdirSync(path);
  const fd = openSync('/dev/fuse', 'r+');
  const options = 'fd=3,rootmode=40000,user_id=0,group_id=0';
  const { status, stderr } = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'dead', path], {
    stdio: ['ignore', 'ignore', 'pipe', fd],
  });
  assert.equal(status, 0, `needs root and FUSE: ${stderr.toString()}`);
  return {
    path,
    [Symbol.dispose]: () => {
      // the calls that hang fail now
      closeSync(fd);
      spawnSync('umount', ['--lazy', path]);
    },
  };
}
