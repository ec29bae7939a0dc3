import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { connectVsock } from '../../sdk/vsock.ts';
import { deferred } from '../../util/deferred.ts';
import { RunError } from '../errors.ts';
import type { RunRequest } from '../run-request.ts';
import { testRunRequest } from '../test-run-request.ts';
import { listVms, readVm } from '../vm-directory/vm-directories.ts';
import { ownRun } from './own-run.ts';
import type { RunSignals } from './run-signals.ts';
import { localParts } from './test-local-guest.ts';

const home = mkdtempSync(join(tmpdir(), 'run "é" '));
process.env['XDG_STATE_HOME'] = home;
after(() => rmSync(home, { recursive: true }));

function request(command: readonly string[], changes: Partial<RunRequest> = {}): RunRequest {
  return testRunRequest({ image: '/', command, network: 'none', isCold: true, ...changes });
}

function signalsOf(start = new AbortController(), stop = new AbortController()) {
  const kill = deferred<(signal: string) => void>();
  const signals: RunSignals = {
    start: start.signal,
    stop: stop.signal,
    forward: (send) => kill.resolve(send),
    [Symbol.dispose]: () => undefined,
  };
  return { signals, kill: kill.promise };
}

/** Runs a request on this host. */
async function runLocally(wanted: RunRequest, stdin?: Readable, parts = localParts()) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const outputs = [buffer(stdout), buffer(stderr)];
  const { signals } = signalsOf();
  const exit = await ownRun(wanted, parts, { signals, stdin, stdout, stderr, onStarted: () => undefined });
  stdout.end();
  stderr.end();
  const [out, err] = await Promise.all(outputs);
  return { exit, stdout: out ?? Buffer.alloc(0), stderr: err ?? Buffer.alloc(0) };
}

for (const code of [0, 1, 42, 255])
  test(`exit code ${code} is that of the run`, async () => {
    const { exit } = await runLocally(request(['/bin/sh', '-c', `exit ${code}`]));
    assert.deepEqual(exit, { code });
  });

test('a command that a signal ends has the code of a shell', async () => {
  for (const [name, code] of [
    ['KILL', 137],
    ['TERM', 143],
    ['USR1', 138],
  ] as const)
    assert.deepEqual((await runLocally(request(['/bin/sh', '-c', `kill -${name} $$`]))).exit, { code });
});

test('outputs stay apart, and variables, directory and words arrive unchanged', async () => {
  const script = 'printf "%s|" "$@" "$PWD" "$A" >&1; printf err >&2';
  const result = await runLocally(
    request(['/bin/sh', '-c', script, 'x', "'", '"é\n'], { env: { A: 'ü $x' }, workingDirectory: '/usr' }),
  );
  assert.equal(String(result.stdout), `'|"é\n|/usr|ü $x|`);
  assert.equal(String(result.stderr), 'err');
});

test('input and output are the same bytes, also beyond all buffers', async () => {
  const bytes = randomBytes(20 * 2 ** 20);
  const { stdout } = await runLocally(
    request(['/bin/cat'], { isInteractive: true }),
    Readable.from([bytes], { objectMode: false }),
  );
  assert.equal(stdout.length, bytes.length);
  assert.deepEqual(
    createHash('sha256').update(stdout).digest('hex'),
    createHash('sha256').update(bytes).digest('hex'),
  );
});

test('without -i the command reads end of file', async () => {
  const { stdout, exit } = await runLocally(request(['/bin/sh', '-c', 'cat; echo end']), new PassThrough());
  assert.deepEqual([String(stdout), exit.code], ['end\n', 0]);
});

test('a time limit ends the command with code 124, also one that ignores SIGTERM', async () => {
  for (const script of ['sleep 60', 'trap "" TERM; while :; do sleep 0.1; done']) {
    const { exit } = await runLocally(request(['/bin/sh', '-c', script], { timeoutMs: 100 }));
    assert.deepEqual(exit, { code: 124, reason: 'the time limit of 0.1 s expired' });
  }
});

test('a closed output ends the command with SIGPIPE', async () => {
  const stdout = new Writable({
    write: (_bytes, _encoding, done) => done(Object.assign(new Error('closed'), { code: 'EPIPE' })),
  });
  const { signals } = signalsOf();
  const exit = await ownRun(request(['/bin/sh', '-c', 'while :; do echo y; done']), localParts(), {
    signals,
    stdin: undefined,
    stdout,
    stderr: undefined,
    onStarted: () => undefined,
  });
  assert.deepEqual(exit, { code: 141 });
});

test('signals are forwarded to the command, and an abort ends the run at once', async () => {
  for (const act of ['forward', 'stop']) {
    const stop = new AbortController();
    const { signals, kill } = signalsOf(new AbortController(), stop);
    const stdout = new PassThrough();
    const run = ownRun(
      request(['/bin/sh', '-c', 'trap "exit 7" INT; echo ready; while :; do sleep 0.05; done']),
      localParts(),
      { signals, stdin: undefined, stdout, stderr: undefined, onStarted: () => undefined },
    );
    const send = await kill;
    await once(stdout, 'data');
    if (act === 'forward') send('INT');
    else stop.abort({ code: 143 });
    const exit = await run;
    if (act === 'stop') send('KILL');
    assert.deepEqual(exit, { code: act === 'forward' ? 7 : 143 });
  }
});

test('a crash of the VM ends the run with 126 and the reason', async () => {
  const parts = localParts();
  const run = runLocally(request(['/bin/sh', '-c', 'sleep 2']), undefined, parts);
  setTimeout(() => parts.endVmm({ code: null, signal: 'SIGKILL' }), 50);
  assert.deepEqual((await run).exit, { code: 126, reason: 'the VMM was ended by SIGKILL' });
});

test('a start that fails has its own reason, not that of the VMM that it ends', async () => {
  const parts = localParts();
  const refused = new RunError('invalid', 'kernel /absent: no such file or directory');
  const start: typeof parts.start = async (plan, options) => {
    const { vmm } = await parts.start(plan, options);
    await vmm[Symbol.asyncDispose]();
    throw refused;
  };
  await assert.rejects(runLocally(request(['true']), undefined, { ...parts, start }), (error) => {
    assert.equal(error, refused);
    return true;
  });
  assert.deepEqual(await listVms(), []);
});

test('an aborted start has the code of the signal and leaves nothing', async () => {
  const start = new AbortController();
  const { signals } = signalsOf(start);
  const parts = localParts({
    start: async (_plan, { signal }) => {
      start.abort({ code: 130 });
      signal.throwIfAborted();
      throw new Error('not aborted');
    },
  });
  const host = {
    signals,
    stdin: undefined,
    stdout: undefined,
    stderr: undefined,
    onStarted: () => undefined,
  };
  assert.deepEqual(await ownRun(request(['true'], { removes: false }), parts, host), { code: 130 });
  assert.deepEqual(await listVms(), []);
});

test('with --rm nothing is left; without, the record has the exit and the log the output', async () => {
  await runLocally(request(['/bin/sh', '-c', 'echo out'], { name: 'gone' }));
  assert.deepEqual(await listVms(), []);
  await runLocally(
    request(['/bin/sh', '-c', 'echo out; printf "\\377" >&2; exit 3'], { name: 'kept', removes: false }),
  );
  const { record, paths, isOwned } = await readVm('kept');
  assert.deepEqual([record.exit, isOwned], [{ code: 3 }, false]);
  const lines = readFileSync(paths.output, 'utf8').trim().split('\n');
  const parts = lines.map((line) => {
    const { time, ...rest }: Record<string, unknown> = JSON.parse(line);
    assert.ok(typeof time === 'string');
    return rest;
  });
  assert.deepEqual(
    parts.toSorted((a, b) => (String(a['stream']) > String(b['stream']) ? -1 : 1)),
    [
      { stream: 'stdout', text: 'out\n' },
      { stream: 'stderr', base64: '/w==' },
    ].toSorted((a, b) => (a.stream > b.stream ? -1 : 1)),
  );
  assert.equal(existsSync(paths.guest), false);
  rmSync(paths.directory, { recursive: true });
});

test('guest.sock connects other processes to the SSH server while the VM runs', async () => {
  const { signals, kill } = signalsOf();
  const started = deferred<string>();
  const run = ownRun(request(['/bin/sleep', '60'], { name: 'web' }), localParts(), {
    signals,
    stdin: undefined,
    stdout: undefined,
    stderr: undefined,
    onStarted: ({ name }) => started.resolve(name),
  });
  const { paths } = await readVm(await started.promise);
  // the local server is cat
  const socket = await connectVsock(paths.guest, 22);
  socket.end('hello');
  assert.equal(String(await buffer(socket)), 'hello');
  await assert.rejects(connectVsock(paths.guest, 99_999));
  (await kill)('TERM');
  assert.equal((await run).code, 143);
});

test('a volume that is no directory is refused before anything is made', async () => {
  const volumes = [{ host: join(home, 'none'), guest: '/x', isReadOnly: false }];
  await assert.rejects(
    runLocally(request(['true'], { volumes })),
    (error) => error instanceof RunError && /none: no such file or directory/.test(error.message),
  );
  assert.deepEqual(readdirSync(join(home, 'nephos', 'vms')), ['.lock']);
});
