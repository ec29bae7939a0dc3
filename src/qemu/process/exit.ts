import { setTimeout as delay } from 'node:timers/promises';
import type { ExitStatus } from '../../native/spawn-process.ts';
import { untilClosed, type BlockingChannels } from './blocking-channels.ts';
import type { QemuProcess } from './spawn.ts';

/** Exit of QEMU. */
export interface QemuExit {
  /**
   * `power-off` and `reset` are caused by the guest, `quit` by the VMM; `crash` is any other exit, with the exit code or signal
   * in `detail`
   */
  readonly reason: 'power-off' | 'reset' | 'quit' | 'crash';
  readonly detail: string;
}

/** Time limit for the rest of the output after the exit of QEMU, in milliseconds. */
const OUTPUT_MS = 1000;

/** Settles when QEMU has exited and its output is read, or the time limit for reading is over. Never rejects. */
export async function exitOf(
  { exited, streams }: QemuProcess,
  { drained }: BlockingChannels,
): Promise<ExitStatus> {
  const status = await exited;
  const open = [...streams.values()].filter((stream) => !stream.closed);
  // a stream without a reader never ends
  for (const stream of open) stream.resume();
  await Promise.race([Promise.all(open.map(untilClosed)), delay(OUTPUT_MS, undefined, { ref: false })]);
  await drained();
  return status;
}

/** Facts that explain an exit status. */
export interface ExitFacts {
  /** reason in QEMU's event SHUTDOWN, a ShutdownCause (qapi/run-state.json); empty: there was no such event */
  readonly shutdownReason: string;
  /** this QEMU is always ended by SIGKILL */
  readonly byKill: boolean;
  /** the VMM has asked QEMU to exit */
  readonly wasAsked: boolean;
  readonly stderrTail: string;
}

/** Classifies an exit of QEMU. */
export function explainExit(
  { code, signal }: ExitStatus,
  { shutdownReason, byKill, wasAsked, stderrTail }: ExitFacts,
): QemuExit {
  const isOrderly = code === 0 || (byKill && signal === 'SIGKILL');
  const status = signal === null ? `exit code ${code}` : `signal ${signal}`;
  const detail = stderrTail === '' ? status : `${status}: ${stderrTail}`;
  if (wasAsked) return { reason: 'quit', detail };
  if (isOrderly && shutdownReason === 'guest-shutdown') return { reason: 'power-off', detail };
  if (isOrderly && shutdownReason === 'guest-reset') return { reason: 'reset', detail };
  return { reason: 'crash', detail };
}
