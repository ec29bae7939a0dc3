// nephos pool: runs in stand-by VMs; what is left after the end of a client, a VM and a pool.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeHome, type TestHome } from './support/nephos.ts';
import { makeOciImage } from './support/oci-image.ts';
import { until } from './support/wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'pool "é" '));
after(() => rmSync(folder, { recursive: true }));
const image = makeOciImage(join(folder, 'image'), {}, { '/etc/machine-id': 'a machine of the image\n' });

/** Largest difference between the clocks of guest and host, in milliseconds. */
const CLOCK_MS = 3000;

/** Options of the pool and its runs. */
const SHAPE = ['--memory', '256M'];

interface ShownPool {
  readonly image: string;
  readonly ready: readonly string[];
  readonly runs: number;
}

async function pools(home: TestHome): Promise<readonly ShownPool[]> {
  const { stdout } = await home.nephos('pool', 'ls', '--format', 'json');
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return JSON.parse(stdout) as readonly ShownPool[];
}

/** Waits until the pool has a ready VM. @returns its name */
async function readyVm(home: TestHome): Promise<string> {
  let name: string | undefined;
  await until('a VM of the pool is ready', async () => {
    [name] = (await pools(home))[0]?.ready ?? [];
    return name !== undefined;
  });
  return name ?? '';
}

/** Returns the processes whose environment names a home: VMMs, QEMU, owner processes and pools. */
function processesOf({ folder: home }: TestHome): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(home);
    } catch {
      // it has exited, or belongs to another user
      return false;
    }
  });
}

/** Fails if a VM, or a process of one, is left in a home. */
async function assertEmpty(testHome: TestHome): Promise<void> {
  const { folder: home } = testHome;
  await until('no process is left', () => processesOf(testHome).length === 0);
  for (const kind of ['vms', 'pools'])
    assert.deepEqual(
      readdirSync(join(home, 'nephos', kind)).filter((name) => name !== '.lock'),
      [],
      kind,
    );
}

/** Starts a run and waits for its first output: its shell has executed `prepare` then, and executes `script`. */
async function startRun(home: TestHome, script: string, prepare = ':'): Promise<ChildProcess> {
  const text = `${prepare}; echo started; ${script}`;
  const child = home.start('run', '--rm', ...SHAPE, image, '--', 'sh', '-c', text);
  await once(child.stdout, 'data');
  return child;
}

test('runs in a pool', async (t) => {
  await using home = makeHome();
  const run = (...words: string[]) => home.nephos('run', '--rm', ...SHAPE, ...words);
  const started = await home.nephos('pool', 'start', ...SHAPE, image);
  assert.deepEqual(started, { code: 0, stdout: '', stderr: '' });

  await t.test('a ready VM is a stand-by VM, and no command reaches it', async () => {
    const name = await readyVm(home);
    assert.match((await home.nephos('ps')).stdout, new RegExp(`^${name} .* stand-by `, 'm'));
    const { code, stderr } = await home.nephos('exec', name, 'true');
    assert.equal(code, 125);
    assert.match(stderr, /is a stand-by VM of a pool/);
    assert.equal((await home.nephos('pool', 'start', ...SHAPE, image)).code, 1);
  });
  const identities: string[] = [];
  await t.test('a run has the ready VM, its exit code and its streams; another VM replaces it', async () => {
    for (const code of [0, 42]) {
      const name = await readyVm(home);
      const script = `hostname; cat /etc/machine-id /proc/sys/kernel/random/uuid; date +%s; echo err >&2; exit ${code}`;
      const before = Date.now();
      const result = await run(image, '--', 'sh', '-c', script);
      assert.deepEqual([result.code, result.stderr], [code, 'err\n']);
      const [host, machine = '', uuid = '', seconds] = result.stdout.split('\n');
      assert.equal(host, name);
      assert.match(machine, /^[0-9a-f]{32}$/);
      const clock = Number(seconds) * 1000;
      assert.ok(clock > before - CLOCK_MS && clock < Date.now() + CLOCK_MS, `${clock}, ${before}`);
      identities.push(machine, uuid);
    }
    assert.equal(new Set(identities).size, identities.length);
    assert.equal((await pools(home))[0]?.runs, 2);
  });
  await t.test('standard input, variables, user and directory are those of the run', async () => {
    await readyVm(home);
    const bytes = randomBytes(2 ** 20);
    const options = ['-i', '-e', 'A=b c', '-w', '/tmp', '-u', 'guest'];
    const script = 'md5sum; echo "$A $PWD $(id -un)"';
    const words = ['run', '--rm', ...SHAPE, ...options, image, '--', 'sh', '-c', script];
    const { code, stdout } = await home.nephosWith(bytes, ...words);
    const digest = createHash('md5').update(bytes).digest('hex');
    assert.deepEqual([code, stdout], [0, `${digest}  -\nb c /tmp guest\n`]);
    assert.equal((await pools(home))[0]?.runs, 3);
  });
  await t.test('a signal of the client reaches the command', async () => {
    await readyVm(home);
    const child = await startRun(home, 'while :; do sleep 0.1; done', 'trap "exit 9" TERM');
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [9, null]);
  });
  await t.test('a VM that stays has its record and its output', async () => {
    await readyVm(home);
    assert.equal((await home.nephos('run', ...SHAPE, '-l', 'job=1', image, '--', 'echo', 'kept')).code, 0);
    const { stdout } = await home.nephos('ps', '-aq', '--filter', 'label=job=1');
    assert.equal((await home.nephos('logs', stdout.trim())).stdout, 'kept\n');
    assert.equal((await home.nephos('rm', stdout.trim())).code, 0);
    assert.equal((await pools(home))[0]?.runs, 5);
  });
  await t.test('the VM of a killed client ends', async () => {
    const name = await readyVm(home);
    const child = await startRun(home, 'sleep 1000');
    child.kill('SIGKILL');
    await until('the VM has ended', async () => !(await home.nephos('ps', '-aq')).stdout.includes(name));
  });
  await t.test('a run that the pool cannot serve starts as usual', async () => {
    const name = await readyVm(home);
    assert.equal((await run('--name', 'own', image, '--', 'hostname')).stdout, 'own\n');
    assert.equal(await readyVm(home), name);
  });
  await t.test('nothing is left after the pool stops; a taken VM runs on', async () => {
    await readyVm(home);
    const child = await startRun(home, 'sleep 1; exit 5');
    const [exited, stopped] = await Promise.all([once(child, 'exit'), home.nephos('pool', 'stop')]);
    assert.deepEqual([exited, stopped.code, stopped.stderr], [[5, null], 0, '']);
    await assertEmpty(home);
  });
  await t.test('nothing is left after the process of a pool was killed', async () => {
    assert.equal((await home.nephos('pool', 'start', '--size', '2', ...SHAPE, image)).code, 0);
    const [{ ready } = { ready: [] }] = await pools(home);
    assert.equal(ready.length, 2);
    const [key = ''] = readdirSync(join(home.folder, 'nephos', 'pools'));
    const record: { readonly pid: number } = JSON.parse(
      readFileSync(join(home.folder, 'nephos', 'pools', key, 'pool.json'), 'utf8'),
    );
    process.kill(record.pid, 'SIGKILL');
    await until('no process is left', () => processesOf(home).length === 0);
    assert.deepEqual(await pools(home), []);
    assert.equal((await home.nephos('ps', '-aq')).stdout, '');
    // the sockets of the record are gone
    assert.equal((await run(image, '--', 'true')).code, 0);
  });
  await t.test('a pool ends after its idle time', async () => {
    assert.equal((await home.nephos('pool', 'start', '--idle', '1s', ...SHAPE, image)).code, 0);
    await until('the pool has ended', async () => (await pools(home)).length === 0);
    await assertEmpty(home);
  });
});
