import { descriptorLimit } from '../util/descriptor-limit.ts';
import type { SendStream, StreamRoute, Streams } from '../api/route.ts';
import type { Connection, Exchange } from './connection.ts';
import { ProtocolError, errorReply, wrongVerbReply, type Reply } from './reply.ts';

/** Serves a request on its connection. Settles when the answer is sent. */
type Serve = (connection: Connection, exchange: Exchange) => Promise<void>;

/** Most streams at the same time: half of the connections, so that the other half is free for requests. */
const streamsMax = (): number => Math.min(512, descriptorLimit() / 8);

const FULL = new ProtocolError(503, 'There are too many streams');

/**
 * Returns a function that finds the stream of a request by its path below `/api/v1/`, with its query. It returns undefined where there is
 * none.
 */
export function createStreamRequests(streams: Streams): (target: string) => Serve | undefined {
  let open = 0;
  return (target) => {
    const [name = '', ...rest] = target.split('?');
    const stream = streams.get(name);
    if (stream === undefined) return undefined;
    const query = new URLSearchParams(rest.join('?'));
    return async (connection, exchange) => {
      const { request } = exchange;
      const refuse = (reply: Reply): Promise<void> => connection.respond(exchange, async () => reply);
      const { method = '' } = request;
      if (method !== stream.route.method) return refuse(wrongVerb(name, stream.route, method));
      if (open >= streamsMax()) return refuse(errorReply(name, FULL));
      let send: SendStream;
      try {
        send = stream.handle({ query, header: (of) => request.headers[of]?.toString() });
      } catch (error) {
        return refuse(errorReply(name, error));
      }
      open += 1;
      await connection.stream(exchange, stream.route.contentType, send).finally(() => (open -= 1));
    };
  };
}

function wrongVerb(name: string, { method }: StreamRoute, verb: string): Reply {
  return wrongVerbReply(name, [{ method, notAllowed: () => true }], verb);
}
