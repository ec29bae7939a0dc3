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
    '-p',
    '0:80',
    image,
    '--',
    'sh',
    '-c',
    script,
  );
  assert.deepEqual([started.code, started.stdout], [0, 'web\n'], started.stderr);
  await t.test('its port reaches the guest', async () => {
    const { stdout } = await home.nephos('port', 'web', '80');
    assert.match(stdout, /^127\.0\.0\.1:[1-9]\d*\n$/);
    await until('the server answers', async () => (await fetchText(stdout.trim())) === 'page of the guest');
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
