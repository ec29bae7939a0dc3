import { closeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../../util/errno.ts';
import { limitLog } from '../../util/limited.ts';
import { createLog } from '../../util/log.ts';
import type { BackEnds } from './back-ends.ts';
import { loadChannelCalls, openChannel, type ChannelCalls } from './channel.ts';
import { makeFrontEndSocket, type FrontEndSocket, type Owner } from './front-end-socket.ts';
import { relayMessages } from './relay.ts';

const log = limitLog(createLog('net'), 'vhost-user back-ends');

/** How often QEMU's socket is tried, in milliseconds. */
const LOOK_MS = 20;

/** How long QEMU may take to end after it has ended a connection before that is looked at, in milliseconds. */
const SETTLE_MS = 100;

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
  readonly backEnds: BackEnds;
  /** a connection that is there; without it the back-end is connected to when QEMU listens */
  readonly first: number | undefined;
  /** the user that QEMU runs as; undefined: the VMM's */
  readonly owner: Owner | undefined;
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
  return {
    frontEnd: socket.path,
    stop: async () => {
      stopping.abort();
      await ended;
      socket[Symbol.dispose]();
      calls.readiness.close();
    },
  };
}

interface Serving {
  readonly calls: ChannelCalls;
  readonly socket: FrontEndSocket;
  readonly signal: AbortSignal;
}

/** Many back-ends serve one connection and end with it, so the first one is made when QEMU is there to use it. */
async function serve({ name, backEnds, first }: Options, { calls, socket, signal }: Serving): Promise<void> {
  let frontEnd = await untilConnected(socket, signal, () => true);
  socket.hide();
  let backEnd = frontEnd === undefined ? first : (first ?? (await backEnds.next(signal)));
  while (frontEnd !== undefined && backEnd !== undefined) {
    await relay(name, [frontEnd, backEnd], { calls, signal });
    await delay(SETTLE_MS, undefined, { signal }).catch(() => undefined);
    const isOver = signal.aborted || !socket.isHeld();
    backEnd = isOver ? undefined : await backEnds.next(signal);
    frontEnd = backEnd === undefined ? undefined : await untilConnected(socket, signal, socket.isHeld);
  }
  for (const fd of [frontEnd, backEnd]) if (fd !== undefined) closeSync(fd);
}

/** @returns a connection to QEMU; undefined where `signal` ended the wait or there is no QEMU to wait for */
async function untilConnected(
  socket: FrontEndSocket,
  signal: AbortSignal,
  isThere: () => boolean,
): Promise<number | undefined> {
  while (!signal.aborted && isThere()) {
    const fd = socket.connect();
    if (fd >= 0) return fd;
    await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

async function relay(
  name: string,
  fds: readonly [frontEnd: number, backEnd: number],
  { calls, signal }: Pick<Serving, 'calls' | 'signal'>,
): Promise<void> {
  using frontEnd = openChannel(fds[0], calls);
  using backEnd = openChannel(fds[1], calls);
  const end = (): void => {
    frontEnd[Symbol.dispose]();
    backEnd[Symbol.dispose]();
  };
  signal.addEventListener('abort', end, { once: true });
  try {
    if (signal.aborted) end();
    await relayMessages(frontEnd, backEnd);
    if (!signal.aborted) log.info(`${name}: the connection to its back-end has ended`);
  } catch (error) {
    log.warn(`${name}: the connection to its back-end is closed: ${reasonOf(error)}`);
  } finally {
    signal.removeEventListener('abort', end);
  }
}
