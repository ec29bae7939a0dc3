import { spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './wait.ts';

/** Process of swtpm, which emulates a TPM. */
export interface TestTpm {
  readonly socket: string;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}

/** Starts swtpm with its state in a folder; it serves one VM after the other. */
export async function startSwtpm(folder: string): Promise<TestTpm> {
  const state = join(folder, 'tpm');
  const socket = join(folder, 'tpm Ω.sock');
  mkdirSync(state);
  const child = spawn(
    'swtpm',
    [
      'socket',
      '--tpm2',
      '--tpmstate',
      `dir=${state}`,
      '--ctrl',
      `type=unixio,path=${socket}`,
      '--flags',
      'startup-clear',
    ],
    { stdio: 'inherit' },
  );
  const ended = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  });
  await until('swtpm listens', () => existsSync(socket));
  return {
    socket,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
