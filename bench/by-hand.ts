import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readlinkSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { openQmp, type Qmp } from '../src/qemu/qmp/connection.ts';

/** The processor of guests under emulation by hand, as ours is: what it can do is not what is compared. */
export const CPU = 'max,erms=off,fsrm=off,fsrs=off,fzrm=off';

/** A QEMU that is driven by hand. */
export interface ByHand extends AsyncDisposable {
  readonly qmp: Qmp;
  /** Takes a state from an address of QEMU's and waits until it has it. */
  readonly load: (uri: string) => Promise<void>;
  /** Writes RAM and state to an address of QEMU's. */
  readonly save: (uri: string) => Promise<void>;
}

/** Returns the arguments of a running process, `edit`ed. Files that it has inherited are named by their paths. */
export function wordsOf(pid: number, edit: (word: string) => string = (word) => word): string[] {
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  return words.map((word) =>
    edit(word.replace(/\/proc\/self\/fd\/(\d+)/g, (_, fd) => pathOf(pid, String(fd)))),
  );
}

/** Path of a file that a process has open. */
function pathOf(pid: number, fd: string): string {
  return readlinkSync(`/proc/${pid}/fd/${fd}`);
}

/** Starts QEMU with words of ours: QMP is its descriptor 3, what its consoles need follows. */
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
