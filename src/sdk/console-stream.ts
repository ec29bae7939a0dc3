import { connect } from 'node:net';
import { Duplex } from 'node:stream';
import { decodeReport, type ViewedConsole } from '../api/console-messages.ts';
import { inBackground } from '../util/background.ts';
import { deferred, type Deferred } from '../util/deferred.ts';
import { loadWs, type WebSocket } from '../util/load-ws.ts';
import { requestError } from './errors.ts';
import { TransportError } from './transport.ts';

/** Largest message that is sent, in bytes: the VMM accepts 64 KiB. */
const PART_BYTES = 32_768;

/** Largest message that is accepted, in bytes. */
const MESSAGE_BYTES = 2 ** 20;

/** A console to connect to. */
export interface ConsoleAddress {
  readonly socketPath: string;
  readonly device: ViewedConsole;
  /** false: input is refused; default: true */
  readonly write?: boolean;
  /** number of bytes of the output that are known already */
  readonly after?: number;
}

/** A connection to a console. */
export interface ConsoleConnection {
  /** Bytes in both directions. It ends when the console is closed. */
  readonly stream: Duplex;
  /** Settles when the VMM has accepted the connection. Rejects with RequestError or TransportError. */
  readonly opened: Promise<void>;
  /** Settles with the reason of the VMM when the connection has ended. Never rejects. */
  readonly ended: Promise<string>;
  /** Tells the guest the size of the terminal, in characters. No effect before the connection is open. */
  readonly resize: (columns: number, rows: number) => void;
}

interface State {
  readonly opened: Deferred<WebSocket>;
  readonly ended: Deferred<string>;
  socket: WebSocket | undefined;
}

/** Connects to a console of a VM by a WebSocket (vm.console): in each mode, beside any number of others. */
export function connectConsole(address: ConsoleAddress): ConsoleConnection {
  const state: State = { opened: deferred(), ended: deferred(), socket: undefined };
  const stream = new Duplex({
    allowHalfOpen: false,
    read: () => state.socket?.resume(),
    write: (bytes: Buffer, _encoding, done) => {
      inBackground('input of a console', sendParts(state, bytes, done));
    },
    final: (done) => {
      state.socket?.close();
      done();
    },
    destroy: (error, done) => {
      state.socket?.close();
      state.ended.resolve(error?.message ?? '');
      done(error);
    },
  });
  // the caller gets the error by `opened`: the stream needs no listener for it
  stream.on('error', () => undefined);
  state.opened.promise.catch((error: unknown) => {
    stream.destroy(asError(error));
  });
  open(address, stream, state).catch((error: unknown) => {
    state.opened.reject(asError(error));
  });
  return {
    stream,
    opened: state.opened.promise.then(() => undefined),
    ended: state.ended.promise,
    resize: (columns, rows) => {
      if (state.socket?.readyState !== state.socket?.OPEN) return;
      state.socket?.send(JSON.stringify({ type: 'resize', columns, rows }));
    },
  };
}

async function open(address: ConsoleAddress, stream: Duplex, state: State): Promise<void> {
  const { WebSocket } = await loadWs();
  if (stream.destroyed) throw new Error('The stream was destroyed');
  const { socketPath } = address;
  const path = pathOf(address);
  const request = { method: 'GET', path, socketPath } as const;
  let isConnected = false;
  const socket = new WebSocket(`ws://localhost${path}`, {
    createConnection: () => connect(socketPath).once('connect', () => (isConnected = true)),
    perMessageDeflate: false,
    maxPayload: MESSAGE_BYTES,
  });
  socket.on('unexpected-response', (_request, incoming) => {
    let body = '';
    incoming.setEncoding('utf8').on('data', (part: string) => (body += part));
    incoming.once('close', () => {
      state.opened.reject(requestError('vm.console', incoming.statusCode ?? 0, body));
      socket.terminate();
    });
  });
  socket.on('error', (error) => {
    state.opened.reject(new TransportError(isConnected ? 'io' : 'connect', request, error));
  });
  socket.once('open', () => {
    state.socket = socket;
    if (stream.destroyed) socket.close();
    state.opened.resolve(socket);
  });
  socket.on('message', (data: Buffer, isBinary) => {
    if (isBinary && !stream.push(data)) socket.pause();
    if (!isBinary) reportLoss(stream, data.toString('utf8'));
  });
  socket.once('close', (_code, reason) => {
    state.ended.resolve(reason.toString('utf8'));
    stream.push(null);
  });
}

/** Reports output that was lost because the stream was not read, as event `lost` with its number of bytes. */
function reportLoss(stream: Duplex, text: string): void {
  const report = decodeReport(text);
  if (report?.type === 'position' && report.lost > 0) stream.emit('lost', report.lost);
}

function pathOf({ device, write = true, after }: ConsoleAddress): string {
  const query = new URLSearchParams({
    device,
    ...(after === undefined ? {} : { after: String(after) }),
    ...(write ? {} : { write: '0' }),
  });
  return `/api/v1/vm.console?${query.toString()}`;
}

/** Sends bytes in parts once the connection is open; `done` is called when they are on their way. */
async function sendParts({ opened }: State, bytes: Buffer, done: (error?: Error) => void): Promise<void> {
  try {
    const socket = await opened.promise;
    for (let at = 0; at < bytes.length; at += PART_BYTES) {
      await new Promise<void>((resolve, reject) => {
        socket.send(bytes.subarray(at, at + PART_BYTES), (error) => (error ? reject(error) : resolve()));
      });
    }
    done();
  } catch (error) {
    done(asError(error));
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}
