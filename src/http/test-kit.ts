import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ApiError } from '../api/errors.ts';
import type { Endpoints, Handler, Route, Streams } from '../api/route.ts';
import { configureLog } from '../util/log.ts';
import { serve } from './server.ts';
import type { ApiServer } from './server.ts';

/** A promise with its resolve function, which blocks a handler until the test opens it. */
export class Gate {
  readonly opened: Promise<void>;
  open: () => void = () => {};

  constructor() {
    this.opened = new Promise((resolve) => {
      this.open = resolve;
    });
  }
}

/** Captures the lines of the log while the test runs. */
export class CapturedLog implements Disposable {
  readonly lines: string[] = [];

  constructor() {
    configureLog({ level: 'warn', write: (line) => void this.lines.push(line) });
  }

  [Symbol.dispose](): void {
    configureLog({ level: 'warn', write: (line) => void process.stderr.write(line) });
  }
}

/** A directory that is removed with the test. */
export class TempDir implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'nephos-http-'));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A client that writes and compares bytes, so that no HTTP library hides a difference. */
export class RawClient implements Disposable {
  readonly socket: Socket;
  readonly #closed: Promise<void>;
  #received = Buffer.alloc(0);
  #ended = false;
  #wake = new Gate();

  constructor(path: string) {
    this.socket = connect({ path, allowHalfOpen: true });
    this.socket.on('data', (chunk) =>
      this.#moved(() => (this.#received = Buffer.concat([this.#received, chunk]))),
    );
    this.socket.on('end', () => this.#moved(() => (this.#ended = true)));
    // a reset is an end like any other here: the bytes before it count
    this.socket.on('error', () => this.#moved(() => (this.#ended = true)));
    this.#closed = new Promise((resolve) => this.socket.once('close', () => resolve()));
  }

  send(bytes: string | Buffer): this {
    this.socket.write(bytes);
    return this;
  }

  /** Waits for as many bytes as `expected` has, and compares them. */
  async expect(expected: string): Promise<void> {
    const length = Buffer.byteLength(expected);
    while (this.#received.length < length && !this.#ended) await this.#wake.opened;
    const got = this.#received.subarray(0, length).toString();
    assert.equal(got, expected);
    this.#received = this.#received.subarray(length);
  }

  /** Waits for a reply of this status whose messages match in turn. @returns its head */
  async expectMessages(status: number, ...messages: (string | RegExp)[]): Promise<string> {
    const { head, body } = await this.answer();
    assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} \\r\\n`), `${head}${body}`);
    const got: unknown = JSON.parse(body);
    assert.ok(Array.isArray(got) && got.length === messages.length, body);
    messages.forEach((message, i) =>
      message instanceof RegExp ? assert.match(String(got[i]), message) : assert.equal(got[i], message),
    );
    return head;
  }

  /** Waits for a whole reply, by its `Content-Length`. */
  async answer(): Promise<{ head: string; body: string }> {
    for (;;) {
      const end = this.#received.indexOf('\r\n\r\n') + 4;
      const head = this.#received.subarray(0, end).toString();
      const length = Number(/\r\nContent-Length: (\d+)\r\n/.exec(head)?.[1] ?? 0);
      if (end > 3 && this.#received.length >= end + length) {
        const body = this.#received.subarray(end, end + length).toString();
        this.#received = this.#received.subarray(end + length);
        return { head, body };
      }
      assert.ok(!this.#ended, `connection ended after ${JSON.stringify(this.#received.toString())}`);
      await this.#wake.opened;
    }
  }

  /** Waits until the server ends the connection without further bytes. */
  async expectEnd(): Promise<void> {
    while (!this.#ended) await this.#wake.opened;
    assert.equal(this.#received.toString(), '');
    this.socket.end();
    await this.#closed;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #moved(change: () => void): void {
    change();
    this.#wake.open();
    this.#wake = new Gate();
  }
}

/** Returns the bytes of a reply as Cloud Hypervisor sends them. */
export function golden(status: number, body?: string, connection = 'keep-alive'): string {
  const head = `HTTP/1.1 ${status} \r\nServer: Cloud Hypervisor API\r\nConnection: ${connection}\r\n`;
  if (body === undefined) return `${head}\r\n`;
  const length = Buffer.byteLength(body);
  return `${head}Content-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`;
}

/** Makes an endpoint from its handler. */
export function endpoint(
  method: Route['method'],
  body: Route['body'],
  handle: Handler,
): { route: Route; handle: Handler } {
  return { route: { method, body, decode: (json) => json }, handle };
}

/** Reply of `vmm.ping` of the stub, in its bytes: ASCII alone. */
export const PING = '{"version":"1.0","build_version":"\\u00e9"}';

/** Makes a few routes of each kind. `vm.echo` returns its request; `log` gets the names in the order in which they end. */
export function stubEndpoints(log: string[] = []): Endpoints {
  const put = (body: Route['body'], name: string, handle: Handler) =>
    [
      name,
      endpoint('PUT', body, async (request) => {
        const answer = await handle(request);
        log.push(name);
        return answer;
      }),
    ] as const;
  return new Map([
    ['vmm.ping', endpoint('GET', 'ignored', async () => JSON.parse(PING))],
    put('ignored', 'vmm.shutdown', async () => undefined),
    put('refused', 'vm.boot', async () => undefined),
    put('required', 'vm.create', async () => undefined),
    put('required', 'vm.echo', async (request) => request),
    put('required', 'vm.length', async (request) => String(request).length),
    put('refused', 'vm.pause', async () => {
      throw new ApiError('wrong-state', 'VM is not running');
    }),
  ]);
}

/** A server of stubs on a socket of its own, with clients; all is released with the test. */
export class TestServer implements AsyncDisposable {
  readonly path: string;
  readonly #dir: TempDir;
  readonly #server: ApiServer;

  private constructor(dir: TempDir, path: string, server: ApiServer) {
    this.#dir = dir;
    this.path = path;
    this.#server = server;
  }

  static async start(
    endpoints: Endpoints = stubEndpoints(),
    headDeadlineMs?: number,
    streams?: Streams,
  ): Promise<TestServer> {
    const dir = new TempDir();
    const path = join(dir.path, 'api.sock');
    return new TestServer(dir, path, await serve({ listen: { path }, endpoints, streams, headDeadlineMs }));
  }

  client(): RawClient {
    return new RawClient(this.path);
  }

  close(deadlineMs?: number): Promise<void> {
    return this.#server.close(deadlineMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close(0);
    this.#dir[Symbol.dispose]();
  }
}
