import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, renameSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Answer } from './answers.ts';
import { startVmm, type TestVmm } from './vmm.ts';

/** Starts a VMM as libvirt does: with an inherited listening socket, and a FIFO for events. */
export async function startAsLibvirt(folder: string): Promise<TestVmm & { readonly events: () => string }> {
  const socket = join(folder, 'guest-socket');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ path: `${socket}.made`, backlog: 1 }, resolve));
  const handle: unknown = Reflect.get(server, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  assert.ok(typeof fd === 'number');
  const fifo = join(folder, 'guest-event-monitor-fifo');
  execFileSync('mkfifo', [fifo]);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const vmm = await startVmm({
    api: false,
    socket,
    args: ['--api-socket', 'fd=3', '--event-monitor', `path=${fifo}`],
    inherited: [fd],
    through: ['sh', '-c', 'umask 002; exec "$@"', 'libvirtd'],
  });
  // closing removes the file where it was made
  renameSync(`${socket}.made`, socket);
  server.close();
  let told = '';
  return {
    ...vmm,
    events: () => {
      told += readNow(reader);
      return told;
    },
    [Symbol.asyncDispose]: async () => {
      closeSync(reader);
      await vmm[Symbol.asyncDispose]();
    },
  };
}

/** Reads the content of a FIFO, without waiting. */
function readNow(fd: number): string {
  const buffer = Buffer.alloc(65_536);
  try {
    return buffer.toString('utf8', 0, readSync(fd, buffer));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return '';
    throw error;
  }
}

/** libcurl's requests on one connection, with `Content-Length: 0` where there is no body. */
export function curl(
  socketPath: string,
): Disposable & { readonly put: (name: string, body?: unknown) => Promise<Answer> } {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const put = (name: string, body?: unknown): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? '' : JSON.stringify(body);
      const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) };
      const path = `/api/v1/${name}`;
      const outgoing = request({ socketPath, agent, method: 'PUT', path, headers }, (incoming) => {
        let got = '';
        incoming.on('data', (part: Buffer) => (got += part.toString('utf8')));
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode ?? 0, json: got === '' ? undefined : JSON.parse(got) }),
        );
      });
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  return { put, [Symbol.dispose]: () => agent.destroy() };
}
