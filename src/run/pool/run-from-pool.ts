import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { sendDescriptors } from '../../native/descriptor-passing.ts';
import { RunError } from '../errors.ts';
import type { RunExit } from '../owner/command-exit.ts';
import { takeSignals } from '../owner/run-signals.ts';
import type { RunRequest } from '../run-request.ts';
import { messagesOf, sendMessage, STREAMS_MESSAGE, type ClientMessage, type RunMessage } from './messages.ts';
import { poolRequestOf } from './pool-key.ts';
import { poolPaths, readPool } from './pool-record.ts';

/**
 * Runs a request in a VM of a pool, on the standard streams of this process. The VM ends when this process ends.
 * @returns undefined where no pool has a VM for it: nothing has happened then
 * @throws RunError where the run failed
 */
export async function runFromPool(request: RunRequest): Promise<RunExit | undefined> {
  const wanted = await poolRequestOf(request);
  if (wanted === undefined) return undefined;
  // the newest VM may still be at work from its start
  for (const { socket } of readPool(poolPaths(wanted.key))?.ready ?? []) {
    const exit = await runIn(socket, wanted.request);
    if (exit !== undefined) return exit;
  }
  return undefined;
}

/** Runs a request in a stand-by VM. @returns undefined where another run has taken it, or it does not fit any more */
async function runIn(path: string, request: RunRequest): Promise<RunExit | undefined> {
  const socket = connect({ path });
  try {
    await once(socket, 'connect');
    await sendDescriptors(socket, STREAMS_MESSAGE, request.isInteractive ? [0, 1, 2] : [1, 2]);
  } catch {
    socket.destroy();
    return undefined;
  }
  try {
    return await followRun(socket, request);
  } finally {
    socket.destroy();
  }
}

/** Sends a request, then signals, and waits for the exit. */
async function followRun(socket: Socket, request: RunRequest): Promise<RunExit | undefined> {
  const send = (message: ClientMessage): void => sendMessage(socket, message);
  using signals = takeSignals();
  signals.passTo((signal) => send({ kind: 'signal', signal }));
  send({ kind: 'run', request });
  let isAccepted = false;
  for await (const message of messagesOf<RunMessage>(socket)) {
    if (message.kind === 'exit') return message.exit;
    if (message.kind === 'error') throw new RunError('start', message.message);
    isAccepted = true;
  }
  if (!isAccepted) return undefined;
  throw new RunError('crashed', 'the owner process of the VM exited before the command');
}
