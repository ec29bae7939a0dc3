import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { MessageChannel, MessageReceiver } from '../api/route.ts';
import { createLog } from '../util/log.ts';
import type { WebSocket, Ws } from '../util/load-ws.ts';

const log = createLog('http');

/** Maximum size of a message of a client, in bytes, also of one in several frames. */
export const MESSAGE_BYTES = 65_536;

/** Interval of pings, in milliseconds: proxies end connections without traffic. */
const PING_MS = 30_000;

/** Most bytes that may be queued for a client that sends pings and does not read. */
const PONG_BYTES = 65_536;

/** Time for the client's part of the closing handshake, in milliseconds. */
const CLOSE_MS = 1000;

/** Status codes of RFC 6455, section 7.4.1. */
export const CLOSE_CODES = { normal: 1000, goingAway: 1001, policy: 1008 } as const;

/** A connection that has become a WebSocket. */
export interface OpenedSocket {
  readonly channel: MessageChannel;
  /** Passes messages to the receiver from now on. To be called once, at once. */
  readonly receive: (receiver: MessageReceiver) => void;
}

/** An offered upgrade, as Node's event `upgrade` reports it. */
export interface OfferedUpgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** bytes of the client behind the head of the request */
  readonly head: Buffer;
}

/**
 * Sends the server's part of a handshake (RFC 6455, section 4.2.2).
 * @throws Error naming a fault of the handshake; nothing is sent then
 */
export function openWebSocket(ws: Ws, { request, socket, head }: OfferedUpgrade): OpenedSocket {
  const server = new ws.WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MESSAGE_BYTES,
    // pongs of a client that does not read would be queued without limit
    autoPong: false,
  });
  let fault = new Error('The client has closed the connection');
  let opened: WebSocket | undefined;
  server.on('wsClientError', (error) => (fault = error));
  // both are called before it returns
  server.handleUpgrade(request, socket, head, (client) => (opened = client));
  if (opened === undefined) throw fault;
  return openedSocket(opened);
}

function openedSocket(client: WebSocket): OpenedSocket {
  let onTaken: () => void = () => undefined;
  const taken = (): void => onTaken();
  const channel: MessageChannel = {
    sendBytes: (bytes) => client.send(bytes, taken),
    sendText: (text) => client.send(text, taken),
    queued: () => client.bufferedAmount,
    pause: () => client.pause(),
    resume: () => client.resume(),
    close: (code, reason) => {
      // the answer of a paused client is not read
      client.resume();
      client.close(code, reason);
      setTimeout(() => client.terminate(), CLOSE_MS).unref();
    },
  };
  return {
    channel,
    receive: (receiver) => {
      ({ onTaken } = receiver);
      client.on('message', (data: Buffer, isBinary) => {
        if (isBinary) receiver.onBytes(data);
        else receiver.onText(data.toString('utf8'));
      });
      client.on('ping', (data) => {
        if (channel.queued() <= PONG_BYTES) client.pong(data);
        else client.terminate();
      });
      // the library has sent the status code that belongs to the fault
      client.on('error', (error) => log.debug(`A WebSocket failed: ${error.message}`));
      const timer = setInterval(() => {
        if (channel.queued() === 0) client.ping();
      }, PING_MS).unref();
      client.once('close', () => {
        clearInterval(timer);
        receiver.onClose();
      });
    },
  };
}
