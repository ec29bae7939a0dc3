import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../../util/errno.ts';
import { limitLog } from '../../util/rate-limit.ts';
import { createLog } from '../../util/log.ts';
import { closeAll } from '../../native/descriptor-passing.ts';
import type { BackEndConnections } from './back-end-connections.ts';
import { loadChannelCalls, openChannel, type Channel, type ChannelCalls } from './channel.ts';
import { makeFrontEndSocket, type FrontEndSocket, type Owner } from './front-end-socket.ts';
import { ask, Request } from './message.ts';
import { relayMessages } from './relay.ts';

const log = limitLog(createLog('vhost-user'), 'vhost-user back-ends');

/** How often QEMU's socket is tried, in milliseconds. */
const LOOK_MS = 20;

/** How long QEMU may take to end after it has ended a connection before that is looked at, in milliseconds. */
const SETTLE_MS = 100;

/** How long a back-end may take to answer its first request, in milliseconds. */
const ANSWER_MS = 10_000;

/** The VMM's place between QEMU and the back-ends of one device. */
export interface RelayService {
  /** path of the socket that QEMU is to listen on */
  readonly frontEnd: string;
  /** Ends all connections. */
  readonly stop: () => Promise<void>;
}

interface Options {
  /** of the device, for the log */
  readonly name: string;
  readonly backEnds: BackEndConnections;
  /** a connection that is there; without it the back-end is connected to when QEMU listens */
  readonly first: number | undefined;
  /** the user that QEMU runs as; undefined: the VMM's */
  readonly owner: Owner | undefined;
  /** the device is not made for another connection after the first one */
  readonly once?: boolean;
  /** {@link ANSWER_MS} unless given */
  readonly answerMs?: number;
}

/** Starts to relay between QEMU and back-ends: when one has gone, the next one gets a connection to QEMU. */
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

/** Many back-ends serve one connection and end with it, so the first one is made when QEMU is there to use it. */
async function serve({ first, ...options }: Options, serving: Serving): Promise<void> {
  const { socket, signal } = serving;
  while (!signal.aborted && !socket.isHeld()) await pause(LOOK_MS, signal);
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

/** Serves one connection of a back-end, to its end. @returns whether QEMU got one */
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

/** QEMU stands still until it is answered: it gets no connection to a back-end that does not. */
async function answers(backEnd: Channel, answerMs: number): Promise<boolean> {
  const timer = setTimeout(() => backEnd[Symbol.dispose](), answerMs);
  try {
    if (!(await backEnd.send(ask(Request.GetFeatures)))) return false;
    const reply = await backEnd.receive();
    closeAll(reply?.fds ?? []);
    return reply?.request === Request.GetFeatures;
  } finally {
    clearTimeout(timer);
  }
}

/** @returns a connection to QEMU; undefined where `signal` ended the wait or QEMU has ended */
async function untilConnected(socket: FrontEndSocket, signal: AbortSignal): Promise<number | undefined> {
  while (!signal.aborted && socket.isHeld()) {
    const fd = socket.connect();
    if (fd >= 0) return fd;
    await pause(LOOK_MS, signal);
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
