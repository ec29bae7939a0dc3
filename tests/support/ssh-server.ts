import { spawn, execFileSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

/** Options of {@link startSshServer}. */
export interface SshServerOptions {
  /** Log-in shell of the user; /bin/sh by default */
  readonly shell?: string;
  /** Program before dropbear, e.g. a limit */
  readonly through?: readonly string[];
  /** Requires this public key, in OpenSSH's format, instead of the method `none` */
  readonly publicKey?: string;
}

/** A dropbear on this host, for one connection, with an account without password. */
export interface SshServer extends AsyncDisposable {
  readonly stream: Duplex;
  readonly user: string;
  /** Home of the user in the server */
  readonly home: string;
  /** Process that serves the connection */
  readonly child: ChildProcess;
}

/** Replaces the accounts in a mount namespace, then becomes the server on descriptor 3. */
const START =
  'mount --bind "$0/passwd" /etc/passwd; mount --bind "$0/shadow" /etc/shadow; exec "$@" 0<&3 1>&3';

/** Starts a server. It needs dropbear (Debian: dropbear-bin) and a mount namespace. */
export function startSshServer({
  shell = '/bin/sh',
  through = [],
  publicKey,
}: SshServerOptions = {}): SshServer {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-ssh-'));
  const { username, uid, gid } = userInfo();
  const home = join(folder, 'home');
  mkdirSync(join(home, '.ssh'), { recursive: true, mode: 0o700 });
  if (publicKey !== undefined)
    writeFileSync(join(home, '.ssh', 'authorized_keys'), publicKey, { mode: 0o600 });
  const others = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .filter((line) => !line.startsWith(`${username}:`));
  writeFileSync(
    join(folder, 'passwd'),
    [`${username}:x:${uid}:${gid}::${home}:${shell}`, ...others].join('\n'),
  );
  writeFileSync(
    join(folder, 'shadow'),
    `${username}:${publicKey === undefined ? '' : '*'}:19000:0:99999:7:::\n`,
  );
  const key = join(folder, 'key');
  execFileSync('dropbearkey', ['-t', 'ed25519', '-f', key], { stdio: 'ignore' });
  const space = uid === 0 ? ['--mount'] : ['--mount', '--user', '--map-current-user', '--keep-caps'];
  const server = [...through, programPath('dropbear'), '-i', '-B', '-r', key];
  const child = spawn('unshare', [...space, 'sh', '-ec', START, folder, ...server], {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
  });
  const stream: unknown = child.stdio[3];
  if (!(stream instanceof Duplex)) throw new Error('no socket to the server');
  return {
    stream,
    user: username,
    home,
    child,
    [Symbol.asyncDispose]: async () => {
      stream.destroy();
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function programPath(name: string): string {
  const found = ['/usr/sbin', '/sbin', '/usr/local/sbin']
    .map((folder) => join(folder, name))
    .find(existsSync);
  if (found === undefined) throw new Error(`${name} is missing: install dropbear-bin (npm run setup)`);
  return found;
}
