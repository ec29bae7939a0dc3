import type { ChildProcess } from 'node:child_process';
import { createLog } from '../util/log.ts';
import type { Qmp } from './qmp.ts';

const log = createLog('qemu');

/** How long each way of ending gets before the next, in milliseconds. */
const PATIENCE_MS = 5000;

interface Terminable {
  readonly child: ChildProcess;
  readonly qmp: Qmp | undefined;
  readonly ended: Promise<unknown>;
}

/** Ends QEMU: `quit` (which writes its caches out), SIGTERM, SIGKILL, each only when the one before did not do. */
export async function terminate({ child, qmp, ended }: Terminable): Promise<void> {
  const asks: readonly [string, () => void][] = [
    ['quit', () => void qmp?.execute('quit').catch(() => undefined)],
    ['SIGTERM', () => void child.kill('SIGTERM')],
    ['SIGKILL', () => void child.kill('SIGKILL')],
  ];
  for (const [name, ask] of qmp === undefined ? asks.slice(1) : asks) {
    ask();
    if (await endsWithin(ended, PATIENCE_MS)) return;
    log.warn(`QEMU (pid ${child.pid}) did not end within ${PATIENCE_MS / 1000} s of ${name}`);
  }
}

async function endsWithin(ended: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([ended.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
