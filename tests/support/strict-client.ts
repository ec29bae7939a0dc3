import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';

/** Size of one read of the client; each must be UTF-8 by itself. */
const READ_BYTES = 256;

/** An answer that the client could read. */
export interface StrictAnswer {
  readonly status: number;
  /** from the status line to the empty line */
  readonly head: string;
  readonly body: string | undefined;
  /** from the first byte of the request to the last of the answer */
  readonly ms: number;
}

/** Client on one permanent connection that reads HTTP as Cloud Hypervisor's api_client does. */
export interface StrictClient extends Disposable {
  readonly get: (name: string) => Promise<StrictAnswer>;
  /** text is sent as it is, anything else as JSON */
  readonly put: (name: string, body?: unknown) => Promise<StrictAnswer>;
}

/** Connects to an API socket. */
export async function connectStrict(path: string): Promise<StrictClient> {
  const socket = connect(path);
  await once(socket, 'connect');
  const reader = readFrom(socket);
  const call = async (method: string, name: string, body?: unknown): Promise<StrictAnswer> => {
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const started = performance.now();
    // each is a write of its own, as in Cloud Hypervisor's client
    socket.write(`${method} /api/v1/${name} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n`);
    if (text !== undefined) socket.write(`Content-Length: ${Buffer.byteLength(text)}\r\n`);
    socket.write('\r\n');
    if (text !== undefined) socket.write(text);
    return { ...parseAnswer(await reader.message()), ms: performance.now() - started };
  };
  return {
    get: (name) => call('GET', name),
    put: (name, body) => call('PUT', name, body),
    [Symbol.dispose]: () => socket.destroy(),
  };
}

/** Collects bytes until Cloud Hypervisor's client would find the answer complete. */
function readFrom(socket: Socket): { readonly message: () => Promise<Buffer> } {
  let bytes = Buffer.alloc(0);
  let ended: string | undefined;
  let wake = (): void => {};
  const moved = (why?: string): void => {
    ended ??= why;
    wake();
  };
  socket.on('data', (part: Buffer) => {
    bytes = Buffer.concat([bytes, part]);
    moved();
  });
  socket.on('error', (error) => moved(error.message));
  // it keeps one connection for the lifetime of a VM: the server must not close it
  socket.on('close', () => moved('the server closed the connection'));
  return {
    message: async () => {
      for (;;) {
        const length = wholeLength(bytes);
        if (length !== undefined) {
          assert.equal(bytes.length, length, 'an answer is followed by nothing');
          const message = bytes;
          bytes = Buffer.alloc(0);
          return message;
        }
        assert.equal(ended, undefined, `after ${JSON.stringify(bytes.toString('latin1'))}`);
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}

/** Length of an answer whose head is complete: only the text `Content-Length: ` announces a body. */
function wholeLength(bytes: Buffer): number | undefined {
  const text = bytes.toString('latin1');
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const whole = end + 4 + (announced(text.slice(0, end + 4)) ?? 0);
  return bytes.length < whole ? undefined : whole;
}

function announced(head: string): number | undefined {
  const at = head.indexOf('Content-Length: ');
  if (at < 0) return undefined;
  const number = head.slice(at + 'Content-Length: '.length, head.indexOf('\r', at));
  assert.match(number, /^\d+$/, 'the length is a number');
  return Number(number);
}

/** Parses an answer by the rules of Cloud Hypervisor's client, and checks the order of the headers of its server. */
export function parseAnswer(message: Buffer): Omit<StrictAnswer, 'ms'> {
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  for (let at = 0; at < message.length; at += READ_BYTES) {
    const part = message.subarray(at, at + READ_BYTES);
    assert.doesNotThrow(() => utf8.decode(part), 'each read is UTF-8');
  }
  const text = message.toString('utf8');
  const end = text.indexOf('\r\n\r\n') + 4;
  const head = text.slice(0, end);
  // the text up to the CR is parsed as a number: there must be no reason phrase
  const status = /^HTTP\/1\.1 (\d{3}) *\r\n/.exec(head)?.[1];
  assert.ok(status !== undefined, `no status in ${JSON.stringify(head)}`);
  const length = announced(head);
  const body = length === undefined ? undefined : text.slice(end);
  const withBody =
    length === undefined ? '' : `Content-Type: application/json\r\nContent-Length: ${length}\r\n`;
  const server = 'Server: Cloud Hypervisor API\r\nConnection: keep-alive\r\n';
  assert.equal(head, `HTTP/1.1 ${status} \r\n${server}${withBody}\r\n`);
  if (status === '204') assert.equal(body, undefined, '204 has no body');
  return { status: Number(status), head, body };
}
