import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { PassThrough, Duplex } from 'node:stream';
import { test } from 'node:test';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSshServer } from '../../tests/support/ssh-server.ts';
import { connectGuest } from './connect-guest.ts';

/** Makes a key pair as OpenSSH does. */
function makeKeys(): { readonly privateKey: string; readonly publicKey: string } {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-keys-'));
  try {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')]);
    return {
      privateKey: readFileSync(join(folder, 'key'), 'utf8'),
      publicKey: readFileSync(join(folder, 'key.pub'), 'utf8'),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a key opens a connection, another key does not', async () => {
  const { privateKey, publicKey } = makeKeys();
  {
    await using server = startSshServer({ publicKey });
    await using guest = await connectGuest({ ...server, privateKey });
    assert.equal((await guest.exec('echo hello')).stdout, 'hello\n');
  }
  for (const wrong of [{ privateKey: makeKeys().privateKey }, {}]) {
    await using server = startSshServer({ publicKey });
    await assert.rejects(connectGuest({ ...server, ...wrong }), {
      name: 'GuestError',
      fault: 'login',
      message: /refused the user/,
    });
    assert.ok(server.stream.destroyed);
  }
  await using server = startSshServer();
  await assert.rejects(
    connectGuest({
      ...server,
      privateKey: generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    }),
    { fault: 'connect' },
  );
});

test('a server that is absent, silent or wrong is an error, and the stream is closed', async () => {
  const other = (text: string | null): Duplex => {
    const input = new PassThrough();
    if (text !== null) input.end(text);
    return Duplex.from({ readable: input, writable: new PassThrough().resume() });
  };
  const ended = other('');
  await assert.rejects(connectGuest({ stream: ended }), { name: 'GuestError', fault: 'connect' });
  const http = other('HTTP/1.1 400 Bad Request\r\n\r\n');
  await assert.rejects(connectGuest({ stream: http }), { name: 'GuestError', fault: 'connect' });
  const silent = other(null);
  await assert.rejects(connectGuest({ stream: silent, timeoutMs: 50 }), {
    fault: 'timeout',
    message: /50 ms/,
  });
  const aborted = other(null);
  await assert.rejects(connectGuest({ stream: aborted, signal: AbortSignal.timeout(20) }), {
    fault: 'aborted',
  });
  for (const stream of [ended, http, silent, aborted]) assert.ok(stream.destroyed);
});

test('the end of the server ends its commands, streams and connection', async () => {
  await using server = startSshServer();
  const guest = await connectGuest(server);
  const command = await guest.spawn('echo started; sleep 60');
  await once(command.stdout, 'data');
  const failed = once(command.stdout, 'error');
  server.child.kill('SIGKILL');
  await assert.rejects(command.exited, { fault: 'closed' });
  await failed;
  assert.ok((await guest.closed) instanceof Error);
  await assert.rejects(guest.exec(['true']), { fault: 'closed' });
  await assert.rejects(guest.upload('/etc/passwd', '/tmp/x'), { fault: 'closed' });
  await assert.rejects(guest.connectTcp(22), { fault: 'closed' });
});

test('disposal closes the connection without an error', async () => {
  await using server = startSshServer();
  const guest = await connectGuest(server);
  await guest[Symbol.asyncDispose]();
  assert.equal(await guest.closed, undefined);
  await assert.rejects(guest.exec(['true']), { fault: 'closed' });
});

test('a program that starts a shell in a terminal', async () => {
  await using server = startSshServer();
  await using guest = await connectGuest(server);
  const shell = await guest.shell({ pty: { columns: 100, rows: 30 } });
  let shown = '';
  shell.stdout.on('data', (bytes: Buffer) => (shown += bytes.toString()));
  shell.stdin.write('tty && stty size; exit 7\n');
  assert.deepEqual(await shell.exited, { exitCode: 7, signal: null });
  assert.match(shown, /\/dev\/pts\/\d+\r\n30 100\r\n/);
});
