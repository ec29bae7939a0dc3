import { IncomingMessage } from 'node:http';

/**
 * Returns the class of requests for a server with an `upgrade` listener. Node gives each request with an offered upgrade to that
 * listener, without a parser for its body. Here only those for which `isOurs` returns true, and CONNECT; any other
 * offer is ignored, as without the listener.
 */
export function requestClass(isOurs: (request: IncomingMessage) => boolean): typeof IncomingMessage {
  // Node's parser sets `upgrade` before the headers and the method, and reads it afterwards
  class Request extends IncomingMessage {
    declare private isOffered: boolean | null;

    get upgrade(): boolean {
      return this.isOffered === true && (this.method === 'CONNECT' || isOurs(this));
    }

    set upgrade(value: boolean | null) {
      this.isOffered = value;
    }
  }
  return Request;
}
