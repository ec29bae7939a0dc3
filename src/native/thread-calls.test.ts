import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { callInThread, registersToContinue, remoteThread } from './thread-calls.ts';

const skip = process.platform === 'linux' && process.arch === 'x64' ? false : 'needs Linux on x86-64';

/** Numbers of system calls of x86-64. */
const [CLOSE, GETPID, GETTID] = [3, 39, 186];

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
