import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  callInThread,
  hasUnfinishedCalls,
  registersToContinue,
  remoteThread,
  UnfinishedCallError,
} from './thread-calls.ts';
import { STOP_LIMIT_MS, ThreadDeadlineError } from './thread-stops.ts';

const skip = process.platform === 'linux' && process.arch === 'x64' ? false : 'needs Linux on x86-64';

/** Numbers of system calls of x86-64. */
const [CLOSE, POLL, GETPID, GETTID, RESTART, CLOCK_NANOSLEEP] = [3, 7, 39, 186, 219, 230];

/** Starts a program whose threads wait, and that answers each line. */
async function startEcho(): Promise<ChildProcess & { readonly pid: number }> {
  const child = spawn(process.execPath, ['-e', 'process.stdin.pipe(process.stdout)'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  await echo(child, 'started');
  assert.ok(child.pid !== undefined);
  return Object.assign(child, { pid: child.pid });
}

async function echo({ stdin, stdout }: ChildProcess, line: string): Promise<void> {
  assert.ok(stdin !== null && stdout !== null);
  stdin.write(line);
  const [answer]: unknown[] = await once(stdout, 'data');
  assert.equal(String(answer), line);
}

function otherThreads(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`)
    .map(Number)
    .filter((thread) => thread !== pid);
}

test('system calls are made in each waiting thread of a child, which goes on', { skip }, async () => {
  const child = await startEcho();
  try {
    const threads = otherThreads(child.pid);
    assert.ok(threads.length > 0);
    for (const thread of threads) {
      const remote = await remoteThread(child.pid, thread);
      const results = callInThread(remote, ({ call }) => [
        call('getpid', GETPID, []),
        call('gettid', GETTID, []),
      ]);
      assert.deepEqual(results, [child.pid, thread]);
    }
    await echo(child, 'alive');
  } finally {
    child.kill('SIGKILL');
    const [, signal]: unknown[] = await once(child, 'exit');
    assert.equal(signal, 'SIGKILL');
  }
});

test('an error of a call in a thread names the call', { skip }, async () => {
  const child = await startEcho();
  try {
    const [thread = 0] = otherThreads(child.pid);
    const remote = await remoteThread(child.pid, thread);
    assert.throws(
      () => callInThread(remote, ({ call }) => call('close', CLOSE, [9999])),
      /EBADF: bad file descriptor, close/,
    );
    await echo(child, 'alive');
    await assert.rejects(remoteThread(child.pid, child.pid), /first thread/);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await assert.rejects(remoteThread(child.pid, child.pid + 1), /ENOENT|ESRCH|EPERM/);
});

/** Registers of a thread in a system call: its number, its result, and the address behind its instruction. */
function inSystemCall(number: bigint, result: bigint): BigInt64Array {
  const registers = new BigInt64Array(27);
  [registers[15], registers[10], registers[16]] = [number, result, 1002n];
  return registers;
}

test('an interrupted system call is made again', () => {
  const resultAndAddress = (registers: BigInt64Array) => [registers[10], registers[16]];
  for (const result of [-512n, -513n, -514n]) {
    assert.deepEqual(resultAndAddress(registersToContinue(inSystemCall(202n, result))), [202n, 1000n]);
  }
  // restart_syscall(2)
  assert.deepEqual(resultAndAddress(registersToContinue(inSystemCall(230n, -516n))), [219n, 1000n]);
  assert.deepEqual(resultAndAddress(registersToContinue(inSystemCall(7n, 3n))), [3n, 1002n]);
  assert.deepEqual(resultAndAddress(registersToContinue(inSystemCall(-1n, -512n))), [-512n, 1002n]);
});

/** A thread that makes one call of the C library, and writes its own number before and the result behind it. */
const CALLING_THREAD = `
  const { workerData: { koffi, fifo, call } } = require('node:worker_threads');
  const lib = require(koffi).load(null);
  const { writeSync } = require('node:fs');
  const actions = Buffer.alloc(512);
  lib.func('int posix_spawn_file_actions_init(void *)')(actions);
  lib.func('int posix_spawn_file_actions_addopen(void *, int, const char *, int, int)')(actions, 0, fifo, 0, 0);
  const spawn = lib.func('int posix_spawn(_Out_ int *, const char *, void *, void *, const char **, const char **)');
  const calls = {
    wait: () => lib.func('int usleep(unsigned int)')(600_000_000),
    vfork: () => spawn([0], '/bin/true', actions, null, ['true', null], [null]),
  };
  writeSync(1, 'thread ' + lib.func('int gettid()')() + '\\n');
  writeSync(1, 'result ' + calls[call]() + '\\n');
`;

/** A child with a thread in a call. */
interface CallingChild extends AsyncDisposable {
  readonly pid: number;
  readonly thread: number;
  /** Waits for the result of the call. */
  readonly result: () => Promise<string>;
}

/** Starts a child, one thread of which calls `usleep`, or `vfork`, which waits in the kernel (state D) until the FIFO has a writer. */
async function startCalling(call: 'wait' | 'vfork', fifo = ''): Promise<CallingChild> {
  const workerData = { koffi: createRequire(import.meta.url).resolve('koffi'), fifo, call };
  const options = JSON.stringify({ eval: true, workerData });
  const program = `new (require('node:worker_threads').Worker)(${JSON.stringify(CALLING_THREAD)}, ${options})`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (bytes) => (output += String(bytes)));
  const find = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const [, found] = pattern.exec(output) ?? [];
      if (found !== undefined) return found;
      await once(child.stdout, 'data');
    }
  };
  const { pid } = child;
  assert.ok(pid !== undefined);
  return {
    pid,
    thread: Number(await find(/thread (\d+)\n/)),
    result: () => find(/result (\S+)\n/),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

/** Returns a member of the status of a thread, e.g. `State`. */
function statusOf({ pid, thread }: CallingChild, member: string): string {
  const text = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
  return new RegExp(`^${member}:\\s*(\\S+)`, 'm').exec(text)?.[1] ?? '';
}

/** Waits for a condition. */
async function until(isMet: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!isMet()) {
    assert.ok(performance.now() < deadline, String(isMet));
    await delay(5);
  }
}

test('a thread that waits in the kernel is refused after a second, and goes on', { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'thread-calls-'));
  try {
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    await using child = await startCalling('vfork', fifo);
    await until(() => statusOf(child, 'State') === 'D');
    const begun = performance.now();
    let turns = 0;
    const turning = setInterval(() => turns++, 10);
    await assert.rejects(remoteThread(child.pid, child.thread), ThreadDeadlineError);
    clearInterval(turning);
    const took = performance.now() - begun;
    assert.ok(took >= STOP_LIMIT_MS && took < 4 * STOP_LIMIT_MS, `${took} ms`);
    assert.ok(turns > 5, `the event loop had ${turns} turns`);
    // its stop is still pending, so that it cannot be attached again
    await assert.rejects(remoteThread(child.pid, child.thread), /EPERM/);
    assert.equal(hasUnfinishedCalls(child.pid), false);
    closeSync(openSync(fifo, 'w'));
    assert.equal(await child.result(), '0');
    await until(() => statusOf(child, 'TracerPid') === '0');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a call that does not end is left to the thread, which continues afterwards', { skip }, async () => {
  await using child = await startCalling('wait');
  const remote = await remoteThread(child.pid, child.thread);
  const [pipe = '0'] = readdirSync(`/proc/${child.pid}/fd`).filter((fd) => fd === '0');
  const isOpen = (): boolean => existsSync(`/proc/${child.pid}/fd/${pipe}`);
  assert.ok(isOpen());
  const sleepOnce = (): void => {
    callInThread(remote, ({ call }) => {
      try {
        call('poll', POLL, [0, 0, 2 * STOP_LIMIT_MS]);
      } finally {
        call('close', CLOSE, [Number(pipe)]);
      }
    });
  };
  const begun = performance.now();
  assert.throws(sleepOnce, UnfinishedCallError);
  assert.ok(performance.now() - begun < 1.8 * STOP_LIMIT_MS);
  assert.ok(hasUnfinishedCalls(child.pid));
  await assert.rejects(remoteThread(child.pid, child.thread), /EPERM/);
  await until(() => !hasUnfinishedCalls(child.pid));
  // no call behind the unfinished one was made, and the thread sleeps as before
  assert.ok(isOpen());
  await until(() => statusOf(child, 'TracerPid') === '0' && statusOf(child, 'State') === 'S');
  const call = readFileSync(`/proc/${child.pid}/task/${child.thread}/syscall`, 'utf8').split(' ')[0];
  assert.ok(call === String(CLOCK_NANOSLEEP) || call === String(RESTART), call);
  assert.equal(
    callInThread(remote, (calls) => calls.call('getpid', GETPID, [])),
    child.pid,
  );
});
