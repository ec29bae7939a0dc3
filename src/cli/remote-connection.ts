import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { osText } from './os-text.ts';
import { CommandError } from './remote-bodies.ts';
import { sendDescriptors } from '../native/descriptor-passing.ts';

/** A request to the VMM. */
export interface RemoteRequest {
  readonly method: 'GET' | 'PUT';
  /** path below `/api/v1/` */
  readonly endpoint: string;
  readonly body: Buffer | undefined;
  /** descriptors to send with it */
  readonly fds: readonly number[];
}

/** An answer; `body` is undefined if the answer has no Content-Length. */
export interface RemoteAnswer {
  readonly status: number;
  readonly body: string | undefined;
}

/** Connects to the API; rejects with CommandError. */
export async function openRemote(path: string): Promise<Socket> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return socket;
  } catch (error) {
    throw new CommandError(`Error opening HTTP socket: ${osText(error)}`, undefined, { cause: error });
  }
}

/** Sends a request with the bytes and writes of Cloud Hypervisor's client, and reads the answer; rejects with CommandError. */
export async function callRemote(socket: Socket, request: RemoteRequest): Promise<RemoteAnswer> {
  const { method, endpoint, body, fds } = request;
  const answer = readAnswer(socket);
  const head = Buffer.from(`${method} /api/v1/${endpoint} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n`);
  // a server may answer and close before it has received all: the answer decides
  answer.catch(() => undefined);
  if (fds.length === 0) socket.write(head);
  else await sendDescriptors(socket, head, fds);
  if (body !== undefined) socket.write(`Content-Length: ${body.length}\r\n`);
  socket.write('\r\n');
  if (body !== undefined) socket.write(body);
  return answer;
}

function readAnswer(socket: Socket): Promise<RemoteAnswer> {
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    const broken = (why: unknown): void =>
      reject(new CommandError(`Error writing to or reading from HTTP socket: ${osText(why)}`));
    socket.on('data', (part: Buffer) => {
      bytes = Buffer.concat([bytes, part]);
      try {
        const whole = parseAnswer(bytes);
        if (whole !== undefined) resolve(whole);
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error), { cause: error }));
      }
    });
    socket.on('error', broken);
    // a close without an answer is reported as a reset
    socket.on('close', () => broken({ code: 'ECONNRESET' }));
  });
}

/** Returns the answer once it is complete. */
function parseAnswer(bytes: Buffer): RemoteAnswer | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [line = '', ...headers] = bytes.toString('latin1', 0, end).split('\r\n');
  const [, text] = /^HTTP\/1\.[01] (.*)$/.exec(line) ?? [];
  if (text === undefined) throw new CommandError('HTTP output is missing protocol statement');
  // a reason phrase behind the status is accepted, unlike in Cloud Hypervisor
  const status = numberIn(text.split(' ')[0] ?? '', 'HTTP status code');
  const length = headers.find((header) => /^content-length:/i.test(header))?.replace(/^[^:]*: */, '');
  if (length === undefined) return { status, body: undefined };
  const body = bytes.subarray(end + 4);
  const expected = numberIn(length, 'HTTP Content-Length field');
  return body.length < expected ? undefined : { status, body: body.toString('utf8', 0, expected) };
}

function numberIn(text: string, what: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new CommandError(`Error parsing ${what}: invalid digit found in string`);
}
