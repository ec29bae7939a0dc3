import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../../util/errno.ts';
import { limitLog } from '../../util/rate-limit.ts';
import { createLog } from '../../util/log.ts';
import { closeAll } from '../../native/descriptor-passing.ts';
import type { BackEndConnections } from './back-end-connections.ts';
import { loadChannelCalls, openChannel, type Channel, type ChannelCalls } from './channel.ts';
import { makeFrontEndSocket, type FrontEndSocket, type Owner } from './front-end-socket.ts';
import { makeRequest, Request } from './message.ts';
import { relayMessages } from './relay.ts';

const log = limitLog(createLog('vhost-user'), 'vhost-user back-ends');

/*
 * The connection between QEMU and vhost-user back-ends of other programs: a relay in the VMM, which survives the restart of a
 * back-end and corrects the order of messages that back-ends on rust-vmm's `vhost` need.
 *
 * States of a relay: QEMU starts -> a back-end is connected and answers -> messages are relayed until one side closes -> the next
 * back-end, as long as QEMU runs. Invariants: QEMU gets a connection only once a back-end answers, as it blocks until it is
 * answered. Only the VMM can connect to QEMU's socket. At most one message of each side is kept, and no descriptor stays here.
 */

/** Interval of the attempts to connect to QEMU's socket, in milliseconds. */
const RETRY_MS = 20;

/** Delay between the end of a connection and the check whether QEMU has exited, in milliseconds. */
const SETTLE_MS = 100;

/** Time limit for a back-end's answer to its first request, in milliseconds. */
const ANSWER_MS = 10_000;

/** A relay between QEMU and the back-ends of one device. */
export interface RelayService {
  /** path of the socket on which QEMU must listen */
  readonly frontEnd: string;
  /** Ends all connections. */
  readonly stop: () => Promise<void>;
}

interface Options {
  /** of the device, for the log */
  readonly name: string;
  readonly backEnds: BackEndConnections;
  /** an existing connection; without it the back-end is connected to when QEMU listens */
  readonly first: number | undefined;
  /** the user that QEMU runs as; undefined: the VMM's */
  readonly owner: Owner | undefined;
  /** the device does not support another connection after the first one */
  readonly once?: boolean;
  /** default: {@link ANSWER_MS} */
  readonly answerMs?: number;
}

/** Starts to relay between QEMU and back-ends: when one has closed its connection, the next one gets a connection to QEMU. */
export async function startRelay(options: Options): Promise<RelayService> {
  const calls = await loadChannelCalls();
  const socket = await makeFrontEndSocket(options.owner).catch((error: unknown) => {
    calls.readiness.close();
    throw error;
  });
  const stopping = new AbortController();
  const ended = serve(options, { calls, socket, signal: stopping.signal }).catch((error: unknown) => {
    log.error(`${options.name}: the connection to its back-end cannot be served: ${reasonOf(error)}`);
  });
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    stopping.abort();
    await ended;
    socket[Symbol.dispose]();
    calls.readiness.close();
  };
  return { frontEnd: socket.path, stop: () => (stopped ??= stop()) };
}

interface Serving {
  readonly calls: ChannelCalls;
  readonly socket: FrontEndSocket;
  readonly signal: AbortSignal;
}

/** Many back-ends serve one connection and exit with it, so the first connection is made when QEMU can use it. */
async function serve({ first, ...options }: Options, serving: Serving): Promise<void> {
  const { socket, signal } = serving;
  while (!signal.aborted && !socket.isHeld()) await pause(RETRY_MS, signal);
  socket.hide();
  for (let next = first; ; next = undefined) {
    const backEnd = next ?? (signal.aborted ? undefined : await options.backEnds.next(signal));
    if (backEnd === undefined) return;
    const isServed = await serveOne(options, backEnd, serving);
    if (isServed && options.once === true) return;
    await pause(SETTLE_MS, signal);
    if (signal.aborted || !socket.isHeld()) return;
  }
}

/** Serves one connection of a back-end, to its end. @returns true where QEMU got one */
async function serveOne(
  { name, answerMs = ANSWER_MS }: Omit<Options, 'first'>,
  fd: number,
  { calls, socket, signal }: Serving,
): Promise<boolean> {
  using backEnd = openChannel(fd, calls);
  using _aborting = closedBy(signal, backEnd);
  let isServed = false;
  try {
    if (!(await answers(backEnd, answerMs))) {
      if (!signal.aborted) log.warn(`${name}: its back-end does not answer`);
      return false;
    }
    const front = await untilConnected(socket, signal);
    if (front === undefined) return false;
    isServed = true;
    using frontEnd = openChannel(front, calls);
    using _closing = closedBy(signal, frontEnd);
    await relayMessages(frontEnd, backEnd);
    if (!signal.aborted) log.info(`${name}: the connection to its back-end has ended`);
  } catch (error) {
    log.warn(`${name}: the connection to its back-end is closed: ${reasonOf(error)}`);
  }
  return isServed;
}

/** Checks that a back-end answers: QEMU would block until it is answered. */
async function answers(backEnd: Channel, answerMs: number): Promise<boolean> {
  const timer = setTimeout(() => backEnd[Symbol.dispose](), answerMs);
  try {
    if (!(await backEnd.send(makeRequest(Request.GetFeatures)))) return false;
    const reply = await backEnd.receive();
    closeAll(reply?.fds ?? []);
    return reply?.request === Request.GetFeatures;
  } finally {
    clearTimeout(timer);
  }
}

/** @returns a connection to QEMU; undefined where `signal` cancelled the wait or QEMU has exited */
async function untilConnected(socket: FrontEndSocket, signal: AbortSignal): Promise<number | undefined> {
  while (!signal.aborted && socket.isHeld()) {
    const fd = socket.connect();
    if (fd >= 0) return fd;
    await pause(RETRY_MS, signal);
  }
  return undefined;
}

/** Closes a channel when the signal is aborted, until it is disposed of. */
function closedBy(signal: AbortSignal, channel: Channel): Disposable {
  const close = (): void => channel[Symbol.dispose]();
  if (signal.aborted) close();
  signal.addEventListener('abort', close, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', close) };
}

/** Waits, at most until the signal is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
