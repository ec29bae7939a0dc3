// The wire rules that existing clients rely on, byte by byte against the real daemon.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { guestConfig } from './support/guest.ts';
import { connectStrict } from './support/strict-client.ts';
import { REPO, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const SERVER = 'Server: Cloud Hypervisor API\r\nConnection: keep-alive\r\n';
const NO_CONTENT = `HTTP/1.1 204 \r\n${SERVER}\r\n`;

/** Returns an answer with a body by the wire rules: empty reason, this order and case of headers, a length in bytes. */
function withBody(status: number, json: unknown): string {
  const body = JSON.stringify(json);
  const type = `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
  return `HTTP/1.1 ${status} \r\n${SERVER}${type}\r\n${body}`;
}

/** Writes bytes on a connection and waits for as many as are expected. */
async function exchange(socket: Socket, sent: string, expected: string): Promise<void> {
  let got = '';
  const take = (part: Buffer): void => void (got += part.toString('latin1'));
  socket.on('data', take);
  socket.write(sent);
  const want = Buffer.from(expected).toString('latin1');
  await until(
    'the answer is whole',
    () => got.length >= want.length || socket.destroyed,
    () => JSON.stringify(got),
  );
  socket.off('data', take);
  assert.equal(got, want);
}

/** Output of --version. */
function versionText(): string {
  const program = join(REPO, 'bin/cloud-hypervisor');
  const { stdout, stderr, status } = spawnSync(process.execPath, [program, '--version'], {
    encoding: 'utf8',
  });
  assert.deepEqual([stderr, status], ['', 0]);
  return stdout;
}

function open(vmm: TestVmm): Socket {
  return createConnection(vmm.socket);
}

const ping = 'GET /api/v1/vmm.ping HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n';

test('W1, W2, W8: status lines, headers and bodies', async (t) => {
  await using vmm = await startVmm();
  const [first, second] = versionText().split('\n');
  const version = /^cloud-hypervisor v(\d+\.\d+(?:\.\d+)?)$/.exec(first ?? '')?.[1];
  const build_version = /^Nephos (\S+)$/.exec(second ?? '')?.[1];
  const socket = open(vmm);
  const pong = withBody(200, { version, build_version, pid: vmm.pid, features: [] });
  await t.test('vmm.ping has the version of --version', async () => {
    await exchange(socket, ping, pong);
  });
  await t.test('two requests at once are answered in order', async () => {
    await exchange(socket, ping + ping, pong + pong);
  });
  await t.test('an error is a list of messages', async () => {
    const info = 'GET /api/v1/vm.info HTTP/1.1\r\n\r\n';
    await exchange(socket, info, withBody(404, ['vm.info failed', 'The VM is not created']));
  });
  await t.test('an unknown path is 404', async () => {
    await exchange(
      socket,
      'PUT /api/v1/vm.fly HTTP/1.1\r\n\r\n',
      withBody(404, ['No such endpoint: /api/v1/vm.fly']),
    );
  });
  socket.destroy();
});

test('W2, W8: other characters than ASCII are escaped, for clients that read 256 bytes', async () => {
  await using vmm = await startVmm();
  using client = await connectStrict(vmm.socket);
  for (const shift of ['', 'x', 'xx', 'xxx']) {
    const path = `/${shift}${'é😀'.repeat(40)}`;
    assert.equal((await client.put('vm.create', guestConfig({ kernel: { path } }))).status, 204);
    const { body = '' } = await client.get('vm.info');
    assert.deepEqual(JSON.parse(body)?.config?.kernel, { path });
    const failed = await client.put('vm.boot');
    assert.equal(failed.status, 500);
    assert.deepEqual(JSON.parse(failed.body ?? ''), [
      'vm.boot failed',
      `kernel ${path}: no such file or directory`,
    ]);
    assert.equal((await client.put('vm.delete')).status, 204);
  }
});

test('W3: idle connections stay open, also within a request', async () => {
  await using vmm = await startVmm();
  using idle = await connectStrict(vmm.socket);
  assert.equal((await idle.get('vmm.ping')).status, 200);
  const half = open(vmm);
  half.write('PUT /api/v1/vmm.sh');
  // longer than the 5 s after which Node's servers close idle connections: the elapsed time is what is tested
  await delay(6500);
  assert.equal((await idle.get('vmm.ping')).status, 200);
  await exchange(half, 'utdown HTTP/1.1\r\n\r\n', NO_CONTENT);
  assert.equal(await vmm.exited, 0);
});

test('W6: requests without a body, and with a wrong body', async (t) => {
  await using vmm = await startVmm();
  const socket = open(vmm);
  const put = (name: string, headers: string, body = ''): string =>
    `PUT /api/v1/${name} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n${body}`;
  const noVm = withBody(404, ['vm.boot failed', 'The VM is not created']);
  await t.test('without Content-Length, and with Content-Length 0', async () => {
    await exchange(socket, put('vm.boot', ''), noVm);
    await exchange(socket, put('vm.boot', 'Content-Length: 0\r\n'), noVm);
  });
  // libvirt before 10, through curl's upload
  const upload = 'Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n';
  await t.test('chunked with Expect: 100-continue, as libvirt before 10 sends it', async () => {
    await exchange(socket, put('vm.boot', upload), 'HTTP/1.1 100 \r\n\r\n');
    await exchange(socket, '0\r\n\r\n', noVm);
  });
  await t.test('chunked without a wait for 100 Continue', async () => {
    await exchange(socket, put('vm.boot', upload, '0\r\n\r\n'), `HTTP/1.1 100 \r\n\r\n${noVm}`);
  });
  await t.test('a body where none belongs is refused', async () => {
    await exchange(
      socket,
      put('vm.boot', 'Content-Length: 2\r\n', '{}'),
      withBody(400, ['vm.boot failed', 'Request body must be empty']),
    );
  });
  await t.test('a missing body is refused', async () => {
    for (const headers of ['', 'Content-Length: 0\r\n']) {
      const missing = withBody(400, ['vm.create failed', 'Request body is missing']);
      await exchange(socket, put('vm.create', headers), missing);
    }
  });
  socket.destroy();
});

test('W5, W7, W9, W10: content types, numbers of file descriptors, 204 without a body', async () => {
  await using vmm = await startVmm();
  const socket = open(vmm);
  const put = (name: string, json: unknown, type: string): string => {
    const body = JSON.stringify(json);
    return `PUT /api/v1/${name} HTTP/1.1\r\n${type}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  };
  await exchange(socket, put('vm.create', guestConfig(), ''), NO_CONTENT);
  const odd = 'Content-Type: application/x-www-form-urlencoded\r\nAccept: text/html;q=0.5\r\n';
  await exchange(socket, put('vm.add-vsock', { cid: 3, socket: join(vmm.folder, 'v') }, odd), NO_CONTENT);
  // a disk has no file descriptors: `fds` is an unknown member
  const disk = { path: '/x.raw', fds: [3, 4] };
  await exchange(socket, put('vm.add-disk', disk, 'Content-Type: application/json\r\n'), NO_CONTENT);
  await exchange(socket, 'PUT /api/v1/vmm.shutdown HTTP/1.1\r\n\r\n', NO_CONTENT);
  assert.equal(await vmm.exited, 0);
});

test('W16: events are written to a FIFO, indented and separated by a blank line', async () => {
  await using holder = await startVmm();
  const fifo = join(holder.folder, 'event-monitor, "x" ü-fifo');
  execFileSync('mkfifo', [fifo]);
  // libvirt opens it for reading before the daemon starts
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    await using vmm = await startVmm({ args: ['--event-monitor', `path=${fifo}`] });
    const started = performance.now();
    using client = await connectStrict(vmm.socket);
    assert.equal((await client.put('vmm.shutdown')).status, 204);
    assert.equal(await vmm.exited, 0);
    const text = readFileSync(reader, 'utf8');
    const event = (name: string): string =>
      [
        '{',
        '  "timestamp": {',
        '    "secs": (\\d+),',
        '    "nanos": (\\d{1,9})',
        '  },',
        '  "source": "vmm",',
        `  "event": "${name}",`,
        '  "properties": null',
        '}\n\n',
      ].join('\n');
    const times = new RegExp(`^${event('starting')}${event('shutdown')}$`).exec(text)?.slice(1).map(Number);
    assert.ok(times !== undefined, text);
    const [startSecs = NaN, startNanos = NaN, endSecs = NaN, endNanos = NaN] = times;
    // timestamps count from the start of the process: the first is near 0
    assert.ok(startSecs + startNanos / 1e9 < endSecs + endNanos / 1e9, text);
    assert.equal(startSecs, 0);
    assert.ok(endSecs <= (performance.now() - started) / 1000 + 10, text);
  } finally {
    closeSync(reader);
  }
});

test('W17: libvirt can parse --version', () => {
  // `cloud-hypervisor v`, then numbers and dots up to the end of the line
  assert.match(versionText(), /^cloud-hypervisor v[1-9]\d*\.\d+(\.\d+)?\n/);
  const [, major] = /^cloud-hypervisor v(\d+)/.exec(versionText()) ?? [];
  // below 15 libvirt refuses; it sends `payload` from 28 on, `serial` in mode `Socket` from 36, TAPs with vm.restore from 40
  assert.ok(Number(major) >= 40);
});

test('W18: bodies up to 4 MiB, and more than ten connections', async (t) => {
  await using vmm = await startVmm();
  const limit = 4 * 2 ** 20;
  const config = JSON.stringify(guestConfig());
  using client = await connectStrict(vmm.socket);
  await t.test('a body of 4 MiB is accepted', async () => {
    assert.equal((await client.put('vm.create', config.padEnd(limit))).status, 204);
  });
  await t.test('a body that is one byte larger is refused', async () => {
    const socket = open(vmm);
    const head = `PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: ${limit + 1}\r\n\r\n`;
    const answer = withBody(413, ['vm.create failed', `Request body is larger than ${limit} bytes`]);
    await exchange(socket, head, answer.replace('keep-alive', 'close'));
    socket.destroy();
  });
  await t.test('12 connections are served', async () => {
    const clients = await Promise.all(Array.from({ length: 12 }, () => connectStrict(vmm.socket)));
    for (const one of clients) assert.equal((await one.get('vmm.ping')).status, 200);
    for (const one of clients) one[Symbol.dispose]();
  });
});
