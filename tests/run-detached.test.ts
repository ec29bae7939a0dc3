// nephos run --detach: the VM outlives its start; ports, logs and exit code.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { makeHome } from './support/nephos.ts';
import { makeOciImage } from './support/oci-image.ts';
import { until } from './support/wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'detached-'));
after(() => rmSync(folder, { recursive: true }));
const image = makeOciImage(join(folder, 'image'), {}, { '/www/index.html': 'page of the guest' });

function fetchText(address: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(`http://${address}/`, { agent: false, timeout: 5000 }, (answer) => resolve(text(answer))).once(
      'error',
      reject,
    );
  });
}

test('a VM in the background serves a port that the host chose, and stops with its exit code', async (t) => {
  await using home = makeHome();
  const script = 'echo started; trap "exit 5" TERM; httpd -f -h /www & wait';
  const started = await home.nephos(
    'run',
    '-d',
    '--name',
    'web',
    ...['-p', '127.0.0.2:0:80', '-p', '0:81/udp', '-l', 'job=42'],
    image,
    '--',
    'sh',
    '-c',
    script,
  );
  assert.deepEqual([started.code, started.stdout], [0, 'web\n'], started.stderr);
  await t.test('its port reaches the guest', async () => {
    const { stdout } = await home.nephos('port', 'web', '80');
    assert.match(stdout, /^127\.0\.0\.2:[1-9]\d*\n$/);
    await until('the server answers', async () => (await fetchText(stdout.trim())) === 'page of the guest');
  });
  await t.test('port prints each address with the number of the host', async () => {
    const { stdout } = await home.nephos('port', 'web');
    assert.match(stdout, /^80\/tcp -> 127\.0\.0\.2:[1-9]\d*\n81\/udp -> 127\.0\.0\.1:[1-9]\d*\n$/);
  });
  await t.test('a label selects it', async () => {
    assert.equal((await home.nephos('ps', '-q', '--filter', 'label=job=42')).stdout, 'web\n');
    assert.equal((await home.nephos('ps', '-q', '--filter', 'label=job=43')).stdout, '');
  });
  await t.test('its name is taken', async () => {
    const second = await home.nephos('run', '-d', '--name', 'web', image, '--', 'true');
    assert.equal(second.code, 125);
    assert.match(second.stderr, /there is a VM with the name web/);
  });
  await t.test('it has a log and an exit code after its end', async () => {
    assert.equal((await home.nephos('stop', 'web')).code, 0);
    assert.equal((await home.nephos('logs', 'web')).stdout, 'started\n');
    const { stdout } = await home.nephos('inspect', 'web');
    assert.match(stdout, /"code": 5/);
    assert.equal((await home.nephos('rm', 'web')).code, 0);
  });
});

test('a start in the background that fails has its exit code and message, and leaves nothing', async () => {
  await using home = makeHome();
  const failed = await home.nephos('run', '-d', 'oci:/nonexistent', '--', 'true');
  assert.deepEqual([failed.code, failed.stdout], [125, '']);
  assert.match(failed.stderr, /\/nonexistent/);
  assert.equal((await home.nephos('ps', '-aq')).stdout, '');
});

test('kill sends any signal of Linux to the command, and without one ends the VM with 137', async (t) => {
  await using home = makeHome();
  const traps = ['HUP', 'WINCH', 'PWR', '36']
    .map((signal) => `trap "echo got ${signal}" ${signal}`)
    .join('; ');
  const script = `${traps}; echo ready $$; while :; do sleep 0.1; done`;
  const started = await home.nephos('run', '-d', '--name', 'k', image, '--', 'sh', '-c', script);
  assert.equal(started.code, 0, started.stderr);
  const logs = async (): Promise<string> => (await home.nephos('logs', 'k')).stdout;
  await until('the command is ready', async () => (await logs()).includes('ready'));
  await t.test('names and numbers reach the command', async () => {
    for (const [signal, printed] of [
      ['HUP', 'HUP'],
      ['sigwinch', 'WINCH'],
      ['30', 'PWR'],
      ['RTMIN+2', '36'],
    ] as const) {
      assert.deepEqual(await home.nephos('kill', '-s', signal, 'k'), { code: 0, stdout: 'k\n', stderr: '' });
      await until(`got ${printed}`, async () => (await logs()).includes(`got ${printed}\n`));
    }
  });
  await t.test('STOP stops the command and not its owner process; CONT continues it', async () => {
    // the command alone: a child of it may be stopped before it executes `sleep`, and has the same name
    const pid = /ready (\d+)/.exec(await logs())?.[1] ?? '';
    const isStopped = async (): Promise<boolean> =>
      (await home.nephos('exec', 'k', 'cat', `/proc/${pid}/stat`)).stdout.startsWith(`${pid} (sh) T `);
    assert.equal((await home.nephos('kill', '-s', 'STOP', 'k')).code, 0);
    await until('the command is stopped', isStopped);
    assert.equal((await home.nephos('kill', '-s', 'CONT', 'k')).code, 0);
    await until('the command continues', async () => !(await isStopped()));
  });
  await t.test('an unknown signal gets the nearest name, and reaches nothing', async () => {
    const result = await home.nephos('kill', '-s', 'TREM', 'k');
    assert.equal(result.code, 2);
    assert.match(result.stderr, /"TREM" is no signal\ndid you mean TERM\?/);
    assert.equal((await home.nephos('ps', '-q')).stdout, 'k\n');
  });
  await t.test('KILL is the exit code 137', async () => {
    assert.equal((await home.nephos('kill', 'k')).code, 0);
    assert.match((await home.nephos('inspect', 'k')).stdout, /"code": 137/);
    assert.equal((await home.nephos('rm', 'k')).code, 0);
  });
});
