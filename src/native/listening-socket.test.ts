import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, lstatSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { createCleanupStack } from '../util/cleanup-stack.ts';
import { listenAtPath, type ListeningSocket } from './listening-socket.ts';

class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'listening, "é" '));

  /** A path of a length in bytes, or a short one. */
  socket(bytes = 0): string {
    const name = 's'.repeat(Math.max(1, bytes - Buffer.byteLength(this.path) - 1));
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

function end({ fd, removeFile }: ListeningSocket): void {
  removeFile();
  closeSync(fd);
}

const MODULE = JSON.stringify(new URL('listening-socket.js', import.meta.url).href);

/** Kills a process, also where the test fails: the run of the tests waits for its output otherwise. */
function killed<P extends ChildProcess>(child: P): P & AsyncDisposable {
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  };
  return Object.assign(child, { [Symbol.asyncDispose]: kill });
}

/** A process that listens at a path by the module under test, with its output. */
function startListener(path: string, then = 'setInterval(() => 0, 1e6)') {
  const script = `const { listenAtPath } = await import(${MODULE});
    try {
      globalThis.socket = await listenAtPath(${JSON.stringify(path)}, { backlog: 0 });
      console.log('listens');
    } catch (error) { console.log(error.message); process.exit(0); }
    ${then}`;
  return killed(
    spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] }),
  );
}

async function startedListener(path: string, then?: string) {
  const child = startListener(path, then);
  const [said]: unknown[] = await once(child.stdout, 'data');
  assert.equal(String(said), 'listens\n');
  return child;
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

for (const bytes of [0, 107]) {
  test(`a socket that a dead process left is replaced: ${bytes} bytes of path`, async () => {
    using folder = new Folder();
    const path = folder.socket(bytes);
    await using child = await startedListener(path);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.ok(lstatSync(path).isSocket());
    const socket = await listenAtPath(path);
    assert.ok(await answers(path));
    end(socket);
    assert.equal(existsSync(path), false);
  });
}

for (const [what, signal] of [
  ['runs', 'SIGCONT'],
  ['is stopped', 'SIGSTOP'],
] as const) {
  test(`a socket of a process that ${what} is not replaced, and the process is named`, async () => {
    using folder = new Folder();
    const path = folder.socket();
    await using child = await startedListener(path);
    child.kill(signal);
    const fill = [connect(path), connect(path), connect(path)];
    for (const one of fill) one.on('error', () => undefined);
    const before = lstatSync(path).ino;
    await assert.rejects(listenAtPath(path), {
      message: `is in use: process ${child.pid} (node) listens there; end that process, or choose another path`,
    });
    assert.equal(lstatSync(path).ino, before);
    for (const one of fill) one.destroy();
  });
}

test('the process is found where it bound a relative path', async () => {
  using folder = new Folder();
  const script = `process.chdir(${JSON.stringify(folder.path)});
    require('net').createServer().listen('relative', () => console.log('listens'))`;
  await using child = killed(
    spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  await once(child.stdout, 'data');
  await assert.rejects(listenAtPath(join(folder.path, 'relative')), {
    message: new RegExp(`process ${child.pid} \\(node\\)`),
  });
});

test('the probe of a socket makes no connection', async () => {
  using folder = new Folder();
  const path = folder.socket();
  let clients = 0;
  const server = createServer(() => clients++);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  await assert.rejects(listenAtPath(path), /in use/);
  await answers(path);
  assert.equal(clients, 1, 'only the one of the test');
  server.close();
});

test('of processes that start at once at a dead socket exactly one gets the path', async () => {
  using folder = new Folder();
  const path = folder.socket();
  await using dead = await startedListener(path);
  dead.kill('SIGKILL');
  await once(dead, 'exit');
  await using running = createCleanupStack();
  const children = Array.from({ length: 4 }, () => running.use(startListener(path)));
  const outputs = await Promise.all(children.map(async (child) => (await once(child.stdout, 'data')).join()));
  const winners = outputs.filter((said) => said === 'listens\n');
  assert.equal(winners.length, 1, outputs.join(''));
  assert.ok(await answers(path));
});

test('the file of another process at the path is not removed', async () => {
  using folder = new Folder();
  const path = folder.socket();
  const first = await listenAtPath(path);
  renameSync(path, `${path}.old`);
  const second = await listenAtPath(path);
  end(first);
  assert.ok(await answers(path));
  end(second);
  assert.equal(existsSync(path), false);
});

test('process.exit removes the file', async () => {
  using folder = new Folder();
  const path = folder.socket();
  const child = startListener(path, 'process.exit(3)');
  assert.equal(await text(child.stdout), 'listens\n');
  assert.equal(existsSync(path), false);
});

test('a requested mode is set before a client can connect', async () => {
  using folder = new Folder();
  const socket = await listenAtPath(folder.socket(), { mode: 0o600 });
  assert.equal(lstatSync(folder.socket()).mode & 0o777, 0o600);
  end(socket);
});

test('the error names a file that is not a socket, and a missing folder', async () => {
  using folder = new Folder();
  const path = folder.socket();
  writeFileSync(path, 'precious');
  await assert.rejects(listenAtPath(path), /not a socket is there; it was left untouched/);
  await assert.rejects(listenAtPath(`${path}/below`), /there is no directory/);
  await assert.rejects(listenAtPath(folder.socket(108)), /has 108 bytes/);
});
