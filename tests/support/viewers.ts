/** Viewers of a console over its WebSocket. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { loadWs, type WebSocket } from '../../src/util/load-ws.ts';
import { type Shell, shellOn } from './shell.ts';
import { until } from './wait.ts';
import type { TestVmm } from './vmm.ts';

/** A viewer of a console, which keeps all that it gets. */
export interface TestViewer {
  readonly socket: WebSocket;
  /** all bytes so far */
  readonly bytes: () => Buffer;
  /** text messages so far, as JSON */
  readonly reports: () => readonly Record<string, unknown>[];
  /** Closes the connection. @returns all bytes */
  readonly leave: () => Promise<Buffer>;
  /** Settles with the status code and the reason of the end. */
  readonly ended: Promise<readonly [code: number, reason: string]>;
  readonly shell: Shell;
}

/** Connects to vm.console with a query; fails with the error answer. */
export async function viewConsole(vmm: Pick<TestVmm, 'socket'>, query: string): Promise<TestViewer> {
  const { WebSocket } = await loadWs();
  const socket = new WebSocket(`ws://localhost/api/v1/vm.console?${query}`, {
    createConnection: () => connect(vmm.socket),
  });
  const parts: Buffer[] = [];
  const reports: Record<string, unknown>[] = [];
  let onData: (bytes: Buffer) => void = () => undefined;
  socket.on('message', (data: Buffer, isBinary) => {
    if (!isBinary) return void reports.push(JSON.parse(data.toString()) as Record<string, unknown>);
    parts.push(data);
    onData(data);
  });
  const ended = new Promise<readonly [number, string]>((resolve) => {
    socket.once('close', (code: number, reason: Buffer) => resolve([code, String(reason)]));
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  const bytes = (): Buffer => {
    const whole = Buffer.concat(parts);
    parts.splice(0, parts.length, whole);
    return whole;
  };
  return {
    socket,
    bytes,
    reports: () => reports,
    ended,
    leave: async () => {
      socket.close();
      await ended;
      return bytes();
    },
    shell: shellOn({
      write: (text) => socket.send(Buffer.from(text)),
      onData: (take) => {
        onData = take;
      },
      close: () => socket.terminate(),
    }),
  };
}

/**
 * Lets the guest write `mib` MiB of text to /dev/hvc0, and checks that each of `count` viewers gets each byte in order. `shell` is on another
 * console.
 */
export async function checkOutput(
  vmm: TestVmm,
  shell: Shell,
  { mib, count, timeoutMs }: { readonly mib: number; readonly count: number; readonly timeoutMs: number },
): Promise<void> {
  await shell.run('stty -F /dev/hvc0 -opost; head -c 786432 /dev/urandom | base64 -w 0 >/tmp/text');
  const all = `for i in $(seq ${mib}); do cat /tmp/text; done`;
  const [sum = ''] = (await shell.run(`(${all}) | sha256sum`, timeoutMs)).split(' ');
  const viewers = await Promise.all(
    Array.from({ length: count }, () => viewConsole(vmm, 'device=console&write=0')),
  );
  await shell.run(`(echo; echo BEGIN; ${all}; echo; echo END) >/dev/hvc0`, timeoutMs);
  for (const viewer of viewers) {
    const seen = (): Buffer => viewer.bytes();
    await until('all of it has arrived', () => seen().subarray(-64).includes('\nEND\n'));
    const bytes = await viewer.leave();
    const from = bytes.indexOf('\nBEGIN\n') + '\nBEGIN\n'.length;
    const text = bytes.subarray(from, bytes.lastIndexOf('\nEND\n'));
    assert.equal(text.length, mib * 2 ** 20);
    assert.equal(createHash('sha256').update(text).digest('hex'), sum);
    assert.deepEqual(
      viewer.reports().map(({ type, lost }) => [type, lost]),
      [['position', 0]],
    );
  }
}
