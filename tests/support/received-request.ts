import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { until } from './wait.ts';

/** A request whose bytes the server has read. */
export interface ReceivedRequest {
  /** First line of the answer */
  readonly statusLine: Promise<string>;
}

/** Sends a PUT request on a connection of its own, and waits until the server has read all of it. */
export async function sendUntilReceived(
  socketPath: string,
  { path, body }: { readonly path: string; readonly body: unknown },
): Promise<ReceivedRequest> {
  const socket = connect(socketPath);
  await once(socket, 'connect');
  const json = JSON.stringify(body);
  const head = `PUT /api/v1/${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${json.length}`;
  const statusLine = text(socket).then((answer) => answer.split('\r\n')[0] ?? '');
  // an error is that of the caller's await
  statusLine.catch(() => undefined);
  await new Promise<void>((resolve) => socket.write(`${head}\r\n\r\n${json}`, () => resolve()));
  await until('the server has read the request', () => unreadAt(socketPath) === 0);
  return { statusLine };
}

/** Returns the bytes that a server has not read, and the connections that it has not accepted. */
function unreadAt(socketPath: string): number {
  const lines = execFileSync('ss', ['-xnaH'], { encoding: 'utf8', maxBuffer: 2 ** 26 }).split('\n');
  return lines
    .map((line) => line.split(/\s+/))
    .filter((columns) => columns.includes(socketPath))
    .reduce((sum, [, , unread]) => sum + Number(unread), 0);
}
