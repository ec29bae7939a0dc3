import type { IncomingMessage } from 'node:http';
import type { Reply } from './reply.ts';

/** Rules of a listener that browsers can reach. Each request passes them before its endpoint and its body are read. */
export interface Gate {
  /** headers of every reply of the listener, names and values in turn */
  readonly headers: readonly string[];
  /** Returns the reply to a request that must not reach the API, or need not; undefined: the API answers it. */
  readonly answer: (request: IncomingMessage) => Reply | undefined;
}
