// `nephos clone`: a clone of a running VM, with an owner process and an identity of its own.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeOciImage } from './support/oci-image.ts';
import { makeRunHome } from './support/run-home.ts';

/** Prints random bytes, the UUID of the next moment, machine-id and host name, a line each. */
const IDENTITY =
  'head -c 16 /dev/urandom | od -An -tx1 | tr -d " \\n"; echo; cat /proc/sys/kernel/random/uuid /etc/machine-id /proc/sys/kernel/hostname';

test('a clone continues with the processes and files of a running VM, and has another identity', async (t) => {
  using home = makeRunHome();
  const { nephos } = home;
  const image = makeOciImage(
    join(home.folder, 'image'),
    {},
    { '/etc/machine-id': 'a machine of the image\n' },
  );
  const exec = async (vm: string, script: string): Promise<string> => {
    const { code, stdout, stderr } = await nephos('exec', vm, '--', 'sh', '-c', script);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  try {
    const script = 'echo of the first >/tmp/file; sleep 100000';
    const started = await nephos(
      'run',
      '-d',
      '--name',
      'first',
      '-p',
      '0:22',
      image,
      '--',
      'sh',
      '-c',
      script,
    );
    assert.equal(started.code, 0, started.stderr);
    await exec('first', 'until [ -s /tmp/file ]; do sleep 0.1; done');
    const cloned = await nephos('clone', 'first', 'second');
    await t.test('its name is printed, and no snapshot is left', () => {
      assert.deepEqual(cloned, { code: 0, stdout: 'second\n', stderr: '' });
      const folder = join(home.env['XDG_STATE_HOME'] ?? '', 'nephos', 'vms', 'first');
      assert.deepEqual(
        readdirSync(folder).filter((name) => name.startsWith('clone-')),
        [],
      );
    });
    await t.test('it has the files and the processes', async () => {
      assert.equal(await exec('second', 'cat /tmp/file'), 'of the first\n');
      assert.match(await exec('second', 'ps'), /sleep 100000/);
    });
    await t.test('both run on, each for itself', async () => {
      await exec('second', 'echo of the second >/tmp/file');
      assert.equal(await exec('first', 'cat /tmp/file'), 'of the first\n');
    });
    await t.test('random numbers, machine-id, host name and port differ', async () => {
      const [first, second] = await Promise.all(['first', 'second'].map((vm) => exec(vm, IDENTITY)));
      const [a, b] = [first, second].map((text) => text?.trim().split('\n') ?? []);
      assert.equal(a?.length, 4);
      for (const [i, line] of a.entries()) assert.notEqual(line, b?.[i]);
      assert.equal(b?.[3], 'second');
      const ports = await Promise.all(
        ['first', 'second'].map(async (vm) => (await nephos('port', vm)).stdout),
      );
      assert.notEqual(ports[0], ports[1]);
    });
    await t.test('a name that is taken, and a VM that is not there, are refused', async () => {
      assert.match((await nephos('clone', 'first', 'second')).stderr, /there is a VM with the name second/);
      assert.match((await nephos('clone', 'none', 'third')).stderr, /there is no VM "none"/);
      assert.deepEqual(home.vms().toSorted(), ['first', 'second']);
    });
  } finally {
    await nephos('rm', '--force', 'first', 'second');
  }
  assert.deepEqual(home.vms(), []);
});
