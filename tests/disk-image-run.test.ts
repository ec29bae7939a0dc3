// nephos run of a disk image with an operating system of its own: UEFI, systemd, SSH over vsock. One boot for all.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { debianDisk } from './support/debian.ts';
import { makeHome } from './support/nephos.ts';

const folder = mkdtempSync(join(tmpdir(), 'disk, "ü" '));
after(() => rmSync(folder, { recursive: true }));

function digestOf(path: string): string {
  return createHash('md5').update(readFileSync(path)).digest('hex');
}

test('Debian 13 from a disk image', async (t) => {
  await using home = makeHome();
  const image = debianDisk();
  const before = digestOf(image);
  writeFileSync(join(folder, 'of the host'), 'shared\n');
  const volume = ['-v', `${folder}:/mnt/a b`];
  const started = await home.nephos('run', '-d', '--name', 'my_debian', ...volume, image);
  assert.deepEqual([started.code, started.stdout], [0, 'my_debian\n'], started.stderr);
  const exec = (...command: string[]) => home.nephos('exec', 'my_debian', ...command);
  await t.test('exit codes are those of the commands', async () => {
    for (const code of [0, 1, 42, 255]) assert.equal((await exec('sh', '-c', `exit ${code}`)).code, code);
    assert.equal((await exec('sh', '-c', 'kill -9 $$')).code, 137);
  });
  await t.test('outputs stay apart', async () => {
    const { stdout, stderr } = await exec('sh', '-c', 'echo out; echo err >&2');
    assert.deepEqual([stdout, stderr], ['out\n', 'err\n']);
  });
  await t.test('the guest has booted, with the name of the VM and a machine id of its own', async () => {
    // one command: each connection takes a second
    const script = 'systemctl is-system-running; hostname; cat /etc/machine-id /proc/cmdline';
    const [state, name, id, words] = (await exec('sh', '-c', script)).stdout.split('\n');
    assert.deepEqual([state, name], ['running', 'my-debian']);
    assert.match(id ?? '', /^[0-9a-f]{32}$/);
    assert.ok(words?.includes(`systemd.machine_id=${id}`), words);
  });
  await t.test('a volume is mounted, and the network has an address', async () => {
    const { stdout } = await exec('sh', '-c', 'cat "/mnt/a b/of the host"; networkctl --no-legend');
    assert.match(stdout, /^shared\n[^]*routable/);
  });
  await t.test('the guest has no program and no key of this project outside of /run', async () => {
    const script =
      'find / -xdev -iname "*nephos*" -not -path "/proc/*"; test ! -e /root/.ssh/authorized_keys';
    const { code, stdout } = await exec('sh', '-c', script);
    assert.deepEqual([code, stdout], [0, '']);
  });
  await t.test('the guest is shut down at the stop, and the image is unchanged', async () => {
    assert.equal((await home.nephos('stop', '--time', '120', 'my_debian')).code, 0);
    assert.equal(digestOf(image), before);
    const serial = join(home.folder, 'nephos', 'vms', 'my_debian', 'serial.log');
    assert.match(readFileSync(serial, 'latin1'), /reboot: Power down/);
  });
});
