import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createLog } from '../util/log.ts';
import { clearPath, startListening } from './listener.ts';

const log = createLog('metrics');

/** What is served. */
export interface Page {
  readonly contentType: string;
  readonly text: () => Promise<string>;
}

/**
 * Serves a page at `/metrics` on a UNIX socket, until it is disposed. Rejects when the socket cannot be had: the cause says why.
 */
export async function serveMetrics(path: string, page: Page): Promise<AsyncDisposable> {
  clearPath(path, 'the socket for metrics');
  const server = createServer((request, response) => {
    answer(page, request, response).catch((error: unknown) => {
      log.warn(`the figures could not be collected: ${String(error)}`);
      response.writeHead(500).end();
    });
  });
  await startListening(server, { path }, 'the socket for metrics');
  return {
    [Symbol.asyncDispose]: async () => {
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
