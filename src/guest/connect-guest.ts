import type { Algorithms, Client } from 'ssh2';
import { deferred } from '../util/deferred.ts';
import { reasonOf } from '../util/errno.ts';
import { sessionRules, type Connection } from './connection.ts';
import { GuestError } from './errors.ts';
import { execCommand } from './exec.ts';
import type { ConnectGuest, Guest, GuestAccess } from './guest.ts';
import { startLimit } from './limit.ts';
import { loadSsh2 } from './load-ssh2.ts';
import { spawnProcess } from './process.ts';
import { seedEvents, withSeed } from './ssh2-crypto.ts';
import { connectTcp } from './tcp.ts';
import { download, downloadArchive, kindOf, upload, uploadArchive } from './transfer/transfer.ts';

const CONNECT_MS = 30_000;

/** Program of a log-in shell. */
const LOGIN_SHELL = 'exec "${SHELL:-/bin/sh}" -l';

/**
 * Algorithms in order of preference, by measurements under emulation: curve25519 and ed25519 are the fastest handshake, AES-GCM the
 * fastest cipher of OpenSSH, and chacha20 that of dropbear, which has no AES-GCM.
 */
const ALGORITHMS: Algorithms = {
  kex: [
    'curve25519-sha256',
    'curve25519-sha256@libssh.org',
    'ecdh-sha2-nistp256',
    'diffie-hellman-group14-sha256',
  ],
  serverHostKey: ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'rsa-sha2-512', 'rsa-sha2-256'],
  cipher: [
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    'chacha20-poly1305@openssh.com',
    'aes128-ctr',
    'aes256-ctr',
  ],
  hmac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-256', 'hmac-sha2-512', 'hmac-sha1'],
  compress: ['none'],
};

/**
 * Opens a connection. The server's host key is not checked: the stream must be one that no other user can reach, as a socket in a
 * directory of mode 0700 is.
 * @throws GuestError
 */
export const connectGuest: ConnectGuest = async (access) => {
  const limit = startLimit('connection to the guest', { timeoutMs: CONNECT_MS, ...access });
  try {
    const { Client } = await loadSsh2();
    limit.check();
    return guestOn(await openConnection(new Client(), access, limit.signal));
  } catch (error) {
    access.stream.destroy();
    limit.check();
    if (error instanceof GuestError) throw error;
    throw new GuestError('connect', `no SSH connection to the guest: ${reasonOf(error)}`, { cause: error });
  } finally {
    limit[Symbol.dispose]();
  }
};

function openConnection(client: Client, access: GuestAccess, signal: AbortSignal): Promise<Connection> {
  const { stream, user = 'root' } = access;
  const closed = deferred<Error | undefined>();
  let failure: GuestError | undefined;
  let isReady = false;
  let isWanted = false;
  const fail = (error: GuestError): void => {
    failure ??= error;
    stream.destroy();
  };
  const destroy = (reason?: GuestError): void => {
    isWanted ||= reason === undefined;
    fail(reason ?? new GuestError('closed', 'the connection to the guest was closed'));
  };
  return new Promise((resolve, reject) => {
    const abort = (): void => destroy(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    client.on('error', (error: Error & { readonly level?: string }) => fail(errorOf(error, user, isReady)));
    client.on('end', () =>
      fail(new GuestError(isReady ? 'closed' : 'connect', 'the guest ended the SSH connection')),
    );
    client.on('close', () => {
      fail(new GuestError('closed', 'the connection to the guest has ended'));
      closed.resolve(isWanted ? undefined : failure);
      reject(failure);
    });
    whenQuiet(client, access.seed !== undefined, () => {
      isReady = true;
      signal.removeEventListener('abort', abort);
      resolve({
        client,
        failure: () => failure,
        closed: closed.promise,
        destroy,
        render: access.render,
        sftp: { text: access.sftpCommand ?? 'sftp', subsystem: access.sftpCommand === undefined },
        ...sessionRules(identificationOf(client), access.maxCommands),
      });
    });
    startClient(client, access);
  });
}

/**
 * Calls a function when a client has logged in. OpenSSH then proves its host keys without a request (PROTOCOL, 2.5): a connection that is
 * recorded or repeated is complete after that, because the server sends nothing more until a command.
 */
function whenQuiet(client: Client, isRepeatable: boolean, act: () => void): void {
  client.on('ready', () => {
    if (isRepeatable && /OpenSSH/.test(identificationOf(client))) client.once('hostkeys', act);
    else act();
  });
}

function startClient(client: Client, { stream, user = 'root', privateKey, seed }: GuestAccess): void {
  if (seed !== undefined) seedEvents(stream, seed);
  withSeed(seed, () =>
    client.connect({
      sock: stream,
      username: user,
      readyTimeout: 0,
      algorithms: ALGORITHMS,
      ...(privateKey !== undefined && { privateKey }),
      authHandler: [privateKey === undefined ? 'none' : 'publickey'],
    }),
  );
}

function errorOf(error: Error & { readonly level?: string }, user: string, isReady: boolean): GuestError {
  if (error.level === 'client-authentication') {
    return new GuestError('login', `the SSH server of the guest refused the user ${user}`, { cause: error });
  }
  const what = isReady ? 'the connection to the guest failed' : 'no SSH connection to the guest';
  return new GuestError(isReady ? 'closed' : 'connect', `${what}: ${reasonOf(error)}`, { cause: error });
}

/** Returns the software of the server, e.g. `dropbear_2022.83`. ssh2 has no public member for it. */
function identificationOf(client: Client): string {
  const name: unknown = Reflect.get(client, '_remoteVer');
  return typeof name === 'string' ? name : '';
}

function guestOn(connection: Connection): Guest {
  return {
    exec: (argv, options = {}) => execCommand(connection, argv, options),
    spawn: (argv, options = {}) => spawnProcess(connection, argv, options),
    shell: ({ pty = { columns: 80, rows: 24 }, ...options } = {}) =>
      spawnProcess(connection, LOGIN_SHELL, { ...options, pty }),
    upload: (from, to, options = {}) => upload(connection, from, to, options),
    download: (from, to, options = {}) => download(connection, from, to, options),
    uploadArchive: (from, to, options = {}) => uploadArchive(connection, from, to, options),
    downloadArchive: (from, to, options = {}) => downloadArchive(connection, from, to, options),
    kindOf: (path) => kindOf(connection, path),
    connectTcp: (port, host = '127.0.0.1') => connectTcp(connection, host, port),
    closed: connection.closed,
    [Symbol.asyncDispose]: async () => {
      connection.client.end();
      connection.destroy();
      await connection.closed;
    },
  };
}
