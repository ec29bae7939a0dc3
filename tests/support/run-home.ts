/** Folders of a user for `nephos run` in tests: VM directories and a cache of their own, with the guest tools of this host. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { copyGuestTools } from './guest-tools-copy.ts';
import { makeFolder } from './vmm.ts';

/** Time limit of a run, in milliseconds: a boot on a busy machine. */
const RUN_MS = 240_000;

/** Result of a program. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Folders of a user. */
export interface RunHome extends Disposable {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  /** Entries of the cache of warm snapshots */
  readonly warmEntries: () => readonly string[];
  /** Names of the VM directories */
  readonly vms: () => readonly string[];
  /** Runs `nephos` with these words. */
  readonly nephos: (...words: readonly string[]) => Promise<Finished>;
}

/** Makes the folders; disposal removes them. */
export function makeRunHome(): RunHome {
  const folder = makeFolder();
  const [cache, state] = [join(folder, 'cache'), join(folder, 'state')];
  for (const path of [cache, state]) mkdirSync(path, { mode: 0o700 });
  copyGuestTools(cache);
  const env = { ...process.env, NEPHOS_CACHE: cache, XDG_STATE_HOME: state };
  return {
    folder,
    env,
    warmEntries: () => namesIn(join(cache, 'warm')),
    vms: () => namesIn(join(state, 'nephos', 'vms')),
    nephos: (...words) => runProgram(words, env),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function namesIn(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => !name.startsWith('.')) : [];
}

function runProgram(words: readonly string[], env: NodeJS.ProcessEnv): Promise<Finished> {
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [resolve('bin/nephos'), ...words],
      { env, timeout: RUN_MS, maxBuffer: 2 ** 26 },
      (_error, stdout, stderr) => done({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}
