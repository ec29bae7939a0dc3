import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { RunExit } from '../owner/command-exit.ts';
import type { RunRequest } from '../run-request.ts';

/*
 * Messages between the processes of a pool: lines of JSON. Both ends are the same program, in sockets that no other user can reach.
 *
 * A client connects to the socket of a stand-by VM. It sends one byte with its standard streams (SCM_RIGHTS), then the request, then signals.
 * The owner process answers `accepted` before anything runs, and `exit` at last. Without `accepted` the VM was not used.
 */

/** From the client of a run. */
export type ClientMessage =
  | { readonly kind: 'run'; readonly request: RunRequest }
  | { readonly kind: 'signal'; readonly signal: string };

/** To the client of a run. */
export type RunMessage =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'exit'; readonly exit: RunExit }
  | { readonly kind: 'error'; readonly message: string };

/** From a stand-by VM to its pool. */
export type StandByMessage =
  | { readonly kind: 'ready'; readonly name: string; readonly socket: string }
  | { readonly kind: 'taken' }
  | { readonly kind: 'error'; readonly message: string };

/** From a pool to the process that starts it. */
export type PoolMessage = { readonly kind: 'ready' } | { readonly kind: 'error'; readonly message: string };

/** Bytes of the message that carries the standard streams. */
export const STREAMS_MESSAGE = Buffer.from('\n');

type Message = ClientMessage | RunMessage | StandByMessage | PoolMessage;

/** Sends a message; one to a closed stream is lost. */
export function sendMessage(stream: Writable, message: Message): void {
  if (stream.writable) stream.write(`${JSON.stringify(message)}\n`);
}

/** Returns the messages of a stream until it ends or breaks. */
export async function* messagesOf<T>(stream: Readable): AsyncGenerator<T> {
  stream.on('error', () => undefined);
  for await (const line of createInterface({ input: stream })) {
    // the writer is the same program
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    if (line !== '') yield JSON.parse(line) as T;
  }
}
