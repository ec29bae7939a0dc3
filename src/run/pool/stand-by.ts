import { createReadStream, fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { isatty, ReadStream } from 'node:tty';
import { reasonOf } from '../../util/errno.ts';
import { onAbort } from '../../util/shutdown-signals.ts';
import type { RunExit } from '../owner/command-exit.ts';
import { openDescriptorSink } from '../owner/descriptor-sink.ts';
import { exitWithOutputs } from '../owner/finish-output.ts';
import { exitOfSignal, runToExit } from '../owner/own-run.ts';
import type { RunParts } from '../owner/parts.ts';
import { takeSignals, type ProcessSignals } from '../owner/run-signals.ts';
import { startRun, type RunningVm } from '../owner/run-vm.ts';
import { RUN_EXIT, type RunRequest } from '../run-request.ts';
import {
  messagesOf,
  sendMessage,
  type ClientMessage,
  type RunMessage,
  type StandByMessage,
} from './messages.ts';
import { receiveClient, type RunClient } from './receive-run.ts';
import { planTake, takeVm, type PlannedTake } from './take-vm.ts';

/** Descriptor to the pool: messages to it, and its end. */
const POOL = 3;

/** Commands before the VM is ready: QEMU translates the code that runs a command. */
const WARM_UP_COMMANDS = 2;

/** Owns a stand-by VM: the request is on standard input, the pool at descriptor 3. Returns when the VM has ended. */
export async function ownStandBy(parts: RunParts): Promise<void> {
  using signals = takeSignals();
  const pool = new Socket({ fd: POOL });
  pool.on('error', () => undefined).resume();
  pool.once('close', () => signals.deliver('SIGTERM'));
  const send = (message: StandByMessage): void => sendMessage(pool, message);
  try {
    // the sender is the same program
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const request = (await json(process.stdin)) as RunRequest;
    await serveRun(request, parts, { signals, send, leavePool: () => pool.removeAllListeners('close') });
  } catch (error) {
    if (!signals.start.aborted) send({ kind: 'error', message: reasonOf(error) });
  } finally {
    pool.end();
  }
}

interface StandByHost {
  readonly signals: ProcessSignals;
  readonly send: (message: StandByMessage) => void;
  /** The end of the pool does not end the VM any more. */
  readonly leavePool: () => void;
}

/** Starts the VM, waits for a run, and runs it. */
async function serveRun(request: RunRequest, parts: RunParts, host: StandByHost): Promise<void> {
  const { signals, send } = host;
  const ended = new AbortController();
  const signal = AbortSignal.any([signals.start, ended.signal]);
  const running = await startRun(request, parts, { signal, isStandBy: true });
  running.failed.then((error) => ended.abort(error)).catch(() => undefined);
  try {
    const { vm } = running;
    const before = await planTake(request, parts, { vm, signal });
    for (let i = 0; i < WARM_UP_COMMANDS; i++) await running.guest.exec(['true'], { signal });
    const { name } = vm.record;
    const onListening = (): void => send({ kind: 'ready', name, socket: vm.paths.run });
    using client = await receiveClient(vm.paths.run, onListening, signal);
    if (client === undefined) return;
    send({ kind: 'taken' });
    host.leavePool();
    await serveClient(client, { running, before, parts, signals });
  } finally {
    await running.finish({ code: 0 });
  }
}

interface TakenVm {
  readonly running: RunningVm;
  /** the machine at its start */
  readonly before: PlannedTake;
  readonly parts: RunParts;
  readonly signals: ProcessSignals;
}

/** Runs the request of a client, and tells it the exit. A client that leaves ends the run. */
async function serveClient({ socket, fds }: RunClient, taken: TakenVm): Promise<void> {
  const { signals } = taken;
  const send = (message: RunMessage): void => sendMessage(socket, message);
  const messages = messagesOf<ClientMessage>(socket);
  socket.once('close', () => signals.stopWith({ code: RUN_EXIT.failed, reason: 'its client exited' }));
  try {
    const { value: first } = await messages.next();
    if (first?.kind !== 'run') return;
    const exit = await runFor(
      first.request,
      fds,
      { ...taken, accept: () => send({ kind: 'accepted' }) },
      messages,
    );
    if (exit !== undefined) send({ kind: 'exit', exit });
  } catch (error) {
    send({ kind: 'error', message: reasonOf(error) });
  } finally {
    socket.removeAllListeners('close');
    socket.end();
  }
}

/** Runs a request on the streams of a client. @returns undefined for a machine that is not that of the request */
async function runFor(
  request: RunRequest,
  fds: readonly number[],
  { running, before, parts, signals, accept }: TakenVm & { readonly accept: () => void },
  messages: AsyncGenerator<ClientMessage>,
): Promise<RunExit | undefined> {
  const { prepared, machine } = await planTake(request, parts, { vm: running.vm, signal: signals.start });
  // the image, the kernel or Nephos is another one since the VM was started
  if (machine !== before.machine) return undefined;
  accept();
  followSignals(messages, signals).catch(() => undefined);
  // a signal that arrives before the command has started ends the run
  onAbort(signals.start, () => signals.stopWith(exitOfSignal(signals.start)));
  const [stdin, stdout, stderr] = openStreams(fds);
  try {
    const vm = await takeVm(running, request, prepared);
    const exit = await runToExit(vm, request, { signals, stdin, stdout, stderr, onStarted: () => undefined });
    return await exitWithOutputs(exit, { stdout, stderr }, signals.stop);
  } finally {
    for (const stream of [stdin, stdout, stderr]) stream?.destroy();
  }
}

async function followSignals(
  messages: AsyncGenerator<ClientMessage>,
  signals: ProcessSignals,
): Promise<void> {
  for await (const message of messages) if (message.kind === 'signal') signals.deliver(message.signal);
}

/** Opens the streams of a client: standard input is absent where the client does not pass it. */
function openStreams(fds: readonly number[]) {
  const [stdout = -1, stderr = -1] = fds.slice(-2);
  const stdin = fds.length > 2 ? openInput(fds[0] ?? -1) : undefined;
  return [stdin, openDescriptorSink(stdout), openDescriptorSink(stderr)] as const;
}

/** Opens a stream that reads a descriptor, whatever its kind is. */
function openInput(fd: number): Readable {
  if (isatty(fd)) return new ReadStream(fd);
  const status = fstatSync(fd);
  return status.isFIFO() || status.isSocket()
    ? new Socket({ fd, readable: true, writable: false })
    : createReadStream('', { fd, autoClose: false });
}
