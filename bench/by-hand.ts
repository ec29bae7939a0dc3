import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readlinkSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { FDSET } from '../src/qemu/process/descriptors.ts';
import { openQmp, type Qmp } from '../src/qemu/qmp/connection.ts';

/** CPU of emulated guests, the same as in Nephos, so that it does not change the ratio. */
export const CPU = 'max,erms=off,fsrm=off,fsrs=off,fzrm=off';

/** A QEMU that the bench controls over QMP. */
export interface ByHand extends AsyncDisposable {
  readonly qmp: Qmp;
  /** Loads a state from a URI of QEMU, and waits for the end of it. */
  readonly load: (uri: string) => Promise<void>;
  /** Writes RAM and state to a URI of QEMU. */
  readonly save: (uri: string) => Promise<void>;
}

/** Returns the arguments of a running process, each changed by `edit`. Inherited descriptors are replaced by their paths. */
export function wordsOf(pid: number, edit: (word: string) => string = (word) => word): string[] {
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  // the file with the state of the VMM, which this script loads by its path
  const state = words.findIndex((word, i) => word === '-add-fd' && words[i + 1]?.endsWith(`set=${FDSET}`));
  if (state >= 0) words.splice(state, 2);
  return words.map((word) =>
    edit(word.replace(/\/proc\/self\/fd\/(\d+)/g, (_, fd) => pathOf(pid, String(fd)))),
  );
}

/** Returns the path of an open file of a process. */
function pathOf(pid: number, fd: string): string {
  return readlinkSync(`/proc/${pid}/fd/${fd}`);
}

/** Starts QEMU with arguments of Nephos: descriptor 3 is QMP, the next ones are for consoles. */
export async function startByHand([command = '', ...words]: readonly string[]): Promise<ByHand> {
  const child = spawn(command, words, {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'pipe', 'pipe', 'pipe'],
  });
  const stream = child.stdio[3];
  if (!(stream instanceof Duplex)) throw new Error('QEMU has no QMP');
  const qmp = await openQmp(stream, () => undefined);
  const done = async (): Promise<void> => {
    for (;;) {
      const { status, 'error-desc': why } = await qmp.execute('query-migrate');
      if (status === 'completed') return;
      if (status === 'failed') throw new Error(`QEMU: ${String(why)}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  return {
    qmp,
    load: async (uri) => {
      await qmp.execute('migrate-incoming', { uri });
      await done();
    },
    save: async (uri) => {
      await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 40 });
      await qmp.execute('migrate', { uri });
      await done();
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}
