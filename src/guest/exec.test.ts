import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { commands } from '../../tests/support/processes.ts';
import { startSshServer } from '../../tests/support/ssh-server.ts';
import { until } from '../../tests/support/wait.ts';
import { connectGuest } from './connect-guest.ts';
import { GuestError } from './errors.ts';

/** First of the sleeps of this run, in seconds: no other process of the host has one. */
const LONG = 100_000 + Math.floor(Math.random() * 800_000);

/** Returns true if a process of this host, where the server runs, sleeps for a number of seconds. */
function sleeps(seconds: number): boolean {
  return commands().some((command) => command.includes(`sleep ${seconds}`) && !command.includes('sh '));
}

test('commands', async (t) => {
  await using server = startSshServer();
  await using guest = await connectGuest(server);

  await t.test('exit codes, stdout and stderr apart', async () => {
    for (const code of [0, 1, 42, 126, 127, 255]) {
      const result = await guest.exec(['sh', '-c', `echo out; echo err >&2; exit ${code}`]);
      assert.deepEqual(result, { exitCode: code, signal: null, stdout: 'out\n', stderr: 'err\n' });
    }
  });

  await t.test('a signal that ends a command', async () => {
    for (const signal of ['TERM', 'KILL', 'SEGV', 'USR1', 'ABRT', 'HUP']) {
      const { exitCode, signal: name } = await guest.exec(`kill -s ${signal} $$`);
      assert.deepEqual([exitCode, name], [null, signal]);
    }
  });

  await t.test('programs that are absent or not executable', async () => {
    assert.equal((await guest.exec(['/absent/program'])).exitCode, 127);
    assert.equal((await guest.exec(['absent-program'])).exitCode, 127);
    assert.equal((await guest.exec(['/etc/passwd'])).exitCode, 126);
  });

  await t.test('no input is the end of file', async () => {
    assert.equal((await guest.exec(['cat'])).stdout, '');
  });

  await t.test('input as text, bytes and stream', async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 4, 3, 0x80]);
    for (const [input, hex] of [
      ['é\n', 'c3a90a'],
      [bytes, bytes.toString('hex')],
      [Readable.from([bytes, bytes]), bytes.toString('hex').repeat(2)],
    ] as const) {
      const { stdout } = await guest.exec(`od -An -v -tx1 | tr -d ' \\n'`, { input });
      assert.equal(stdout, hex);
    }
  });

  await t.test('a command that ends before it has read its input', async () => {
    const { exitCode } = await guest.exec(['true'], { input: Buffer.alloc(8 * 2 ** 20) });
    assert.equal(exitCode, 0);
  });

  await t.test('an input that fails ends the command', async () => {
    const input = new Readable({ read: () => undefined });
    const result = guest.exec(['sh', '-c', `cat; sleep ${LONG + 1}`], { input });
    setTimeout(() => input.destroy(new Error('disk on fire')), 100);
    await assert.rejects(result, (error) => error instanceof GuestError && error.fault === 'input');
    assert.ok(!sleeps(LONG + 1));
  });

  await t.test('output arrives in pieces', async () => {
    let out = '';
    const result = await guest.exec('echo a; echo b', { onStdout: (bytes) => (out += bytes.toString()) });
    assert.deepEqual([out, result.stdout], ['a\nb\n', '']);
  });

  await t.test('a working directory and variables', async () => {
    const { stdout } = await guest.exec('pwd; echo "$A$B"', { cwd: '/usr', env: { A: `a'b"$`, B: '\n\\!' } });
    assert.equal(stdout, `/usr\na'b"$\n\\!\n`);
    assert.equal((await guest.exec(['true'], { cwd: '/absent' })).exitCode, 126);
  });

  await t.test('a long command passes by the input', async () => {
    const word = 'x'.repeat(100_000);
    const { stdout } = await guest.exec(['sh', '-c', 'printf %s "$1"; cat', 'sh', word], { input: 'end' });
    assert.equal(stdout, `${word}end`);
  });

  await t.test('an abort ends the command with its children', async () => {
    const abort = new AbortController();
    const result = guest.exec(
      ['sh', '-c', `trap "" TERM; sleep ${LONG + 2} & sleep ${LONG + 2}; sleep ${LONG + 2}`],
      { signal: abort.signal },
    );
    await until('the command runs', () => sleeps(LONG + 2));
    abort.abort(new Error('no longer wanted'));
    await assert.rejects(
      result,
      (error) =>
        error instanceof GuestError && error.fault === 'aborted' && error.cause === abort.signal.reason,
    );
    assert.ok(!sleeps(LONG + 2));
  });

  await t.test('a time limit ends the command', async () => {
    await assert.rejects(guest.exec(['sleep', `${LONG + 3}`], { timeoutMs: 200 }), { fault: 'timeout' });
    assert.ok(!sleeps(LONG + 3));
  });

  await t.test('an aborted signal starts nothing', async () => {
    await assert.rejects(guest.exec(['sleep', `${LONG + 4}`], { signal: AbortSignal.abort() }), {
      fault: 'aborted',
    });
    assert.ok(!sleeps(LONG + 4));
  });

  await t.test('more output than the limit ends the command', async () => {
    await assert.rejects(guest.exec(`yes ${LONG + 5}`, { maxOutputBytes: 100_000 }), { fault: 'output' });
  });

  await t.test('kill sends a signal to the group', async () => {
    const command = await guest.spawn(['sh', '-c', `trap "exit 9" USR1; sleep ${LONG + 6} & wait; wait`]);
    await until('the command runs', () => sleeps(LONG + 6));
    await command.kill('SIGUSR1');
    await until('the command ends', () => !sleeps(LONG + 6));
    assert.deepEqual(await command.exited, { exitCode: 9, signal: null });
    await assert.rejects(command.kill('; reboot'), { fault: 'refused' });
  });

  await t.test('a terminal has a size, which changes', async () => {
    const command = await guest.spawn('trap "stty size" WINCH; stty size; while :; do sleep 0.05; done', {
      pty: { columns: 91, rows: 17 },
    });
    let shown = '';
    command.stdout.on('data', (bytes: Buffer) => (shown += bytes.toString()));
    await until('the size', () => shown.includes('17 91\r\n'));
    command.resize({ columns: 120, rows: 40 });
    await until('the new size', () => shown.includes('40 120\r\n'));
    await command.kill('KILL');
    assert.deepEqual(await command.exited, { exitCode: null, signal: 'KILL' });
  });

  await t.test('fifty commands at the same time', async () => {
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, i) => guest.exec(['sh', '-c', `sleep 0.1; echo ${i}`])),
    );
    assert.deepEqual(
      results.map(({ stdout }) => Number(stdout)),
      Array.from({ length: 50 }, (_, i) => i),
    );
  });

  await t.test('output for a slow reader is whole and its memory bounded', async () => {
    const before = process.memoryUsage().rss;
    const command = await guest.spawn('head -c 100000000 /dev/zero; echo >&2 done');
    await delay(500);
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 32 * 2 ** 20, `${grown}`);
    let length = 0;
    for await (const bytes of command.stdout) length += (bytes as Buffer).length;
    assert.equal(length, 100_000_000);
    assert.deepEqual(await command.exited, { exitCode: 0, signal: null });
  });

  await t.test('100 MiB of binary input and output are whole', async () => {
    const block = Buffer.alloc(2 ** 20, Buffer.from(Array.from({ length: 256 }, (_, i) => i)));
    const input = Readable.from(Array.from({ length: 100 }, () => block));
    const hash = createHash('sha256');
    const expected = createHash('sha256');
    for (let i = 0; i < 100; i++) expected.update(block);
    await guest.exec(['cat'], { input, onStdout: (bytes) => void hash.update(bytes) });
    assert.equal(hash.digest('hex'), expected.digest('hex'));
  });
});
