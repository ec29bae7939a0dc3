import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createLog } from '../util/log.ts';
import { startListening } from './listener.ts';

const log = createLog('metrics');

/** Most connections of collectors at the same time; further ones are closed at once. */
const CONNECTIONS_MAX = 64;

/** Deadline of a request, in milliseconds. */
const REQUEST_DEADLINE_MS = 10_000;

/** The served page. */
export interface Page {
  readonly contentType: string;
  readonly text: () => Promise<string>;
}

/**
 * Serves a page at `/metrics` on a UNIX socket, until it is disposed. Rejects where it cannot listen; the cause is the reason.
 */
export async function serveMetrics(path: string, page: Page): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    answer(page, request, response).catch((error: unknown) => {
      log.warn(`the figures could not be collected: ${String(error)}`);
      response.writeHead(500).end();
    });
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.headersTimeout = REQUEST_DEADLINE_MS;
  server.requestTimeout = REQUEST_DEADLINE_MS;
  const { removeFile } = await startListening(server, { path }, 'the socket for metrics');
  return {
    [Symbol.asyncDispose]: async () => {
      removeFile();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(page: Page, { method, url }: IncomingMessage, response: ServerResponse): Promise<void> {
  if (url?.split('?')[0] !== '/metrics') {
    response.writeHead(404).end('There is only /metrics here.\n');
  } else if (method !== 'GET' && method !== 'HEAD') {
    response.writeHead(405, { Allow: 'GET, HEAD' }).end();
  } else {
    const text = await page.text();
    response.writeHead(200, { 'Content-Type': page.contentType });
    response.end(method === 'HEAD' ? undefined : text);
  }
}
