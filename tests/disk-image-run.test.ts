// nephos run of a disk image with an operating system of its own: UEFI, systemd, SSH over vsock. Two boots for all: the second is a reboot.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { resetSector } from './support/boot-sector.ts';
import { debianDisk } from './support/debian.ts';
import { makeHome } from './support/nephos.ts';
import { until } from './support/wait.ts';

/** Firmware without UEFI, which boots any boot sector. */
const SEABIOS = '/usr/share/seabios/bios-256k.bin';

const folder = mkdtempSync(join(tmpdir(), 'disk, "ü" '));
after(() => rmSync(folder, { recursive: true }));

/** Prints what must differ between VMs, a line each: random bytes, UUID, machine id, host name, host key of SSH; then the time in seconds. */
const IDENTITY = [
  'head -c 16 /dev/urandom | od -An -tx1 | tr -d " \\n"; echo',
  'cat /proc/sys/kernel/random/uuid /etc/machine-id /proc/sys/kernel/hostname',
  'md5sum </run/nephos/ssh_host_ed25519_key; date +%s',
].join('; ');

/** Prints the states of the SSH server on the port, and of those on vsock: a warm start needs none. */
const SERVERS = 'systemctl is-active nephos-port.service "sshd-vsock@*.service"';

/** Prints a file, the state of a job, the host name and a file of the host. */
const CLONED = 'cat /root/file; systemctl is-active job; hostname; cat "/mnt/a b/of the host"';

/** Prints the id of the boot, the machine id and the host name. */
const BOOT = 'cat /proc/sys/kernel/random/boot_id /etc/machine-id /proc/sys/kernel/hostname';

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
    const script = 'systemctl is-system-running --wait; hostname; cat /etc/machine-id; journalctl -q -n 1';
    const [state, name, id, journal] = (await exec('sh', '-c', script)).stdout.split('\n');
    assert.deepEqual([state, name], ['running', 'my-debian']);
    assert.match(id ?? '', /^[0-9a-f]{32}$/);
    assert.notEqual(journal, '');
  });
  await t.test('a further run has another identity, and EXIT_STATUS is its code', async () => {
    const { stdout: own } = await exec('sh', '-c', IDENTITY);
    const script = `${IDENTITY}; ${SERVERS}; cat "/mnt/a b/of the host"; systemctl exit 42; sleep 300`;
    const { code, stdout, stderr } = await home.nephos(
      'run',
      '--rm',
      ...volume,
      image,
      '--',
      'sh',
      '-c',
      script,
    );
    assert.equal(code, 42, stderr);
    const [mine, other] = [own, stdout].map((text) => text.trim().split('\n'));
    assert.equal(other?.pop(), 'shared');
    assert.equal(other?.pop(), 'active');
    const clocks = [mine?.pop(), other?.pop()].map(Number);
    assert.ok(Math.abs((clocks[1] ?? 0) - Date.now() / 1000) < 240, clocks.join(', '));
    assert.equal(mine?.length, 5);
    for (const [i, value] of (mine ?? []).entries()) assert.notEqual(other?.[i], value);
  });
  await t.test('a panic of the guest ends its run with 126', async () => {
    const panic = ['sh', '-c', 'echo c >/proc/sysrq-trigger; sleep 300'];
    const { code, stderr } = await home.nephos('run', '--rm', image, '--', ...panic);
    assert.deepEqual([code, stderr], [126, "nephos: the guest's kernel panicked: sysrq triggered crash\n"]);
  });
  await t.test(
    'a clone has the files and processes of the VM, and a name and a disk of its own',
    async () => {
      await exec('sh', '-c', 'echo before >/root/file; sync; systemd-run --unit job -q sleep 100000');
      const cloned = await home.nephos('clone', 'my_debian', 'copy');
      assert.deepEqual([cloned.code, cloned.stdout], [0, 'copy\n'], cloned.stderr);
      const { stdout } = await home.nephos('exec', 'copy', 'sh', '-c', `${CLONED}; echo clone >/root/file`);
      assert.equal(stdout, 'before\nactive\ncopy\nshared\n');
      assert.equal((await exec('sh', '-c', CLONED)).stdout, 'before\nactive\nmy-debian\nshared\n');
      assert.equal((await home.nephos('rm', '-f', 'copy')).code, 0);
    },
  );
  await t.test('a reboot of the guest keeps its VM, its identity, its disk and its volume', async () => {
    const { stdout: before } = await exec('sh', '-c', BOOT);
    await exec('systemctl', 'reboot');
    let after = before;
    await until(
      'the guest has booted again',
      async () => {
        after = (await exec('sh', '-c', BOOT)).stdout;
        return after !== '' && after.split('\n')[0] !== before.split('\n')[0];
      },
      () => after,
      300_000,
    );
    const [boot, ...rest] = before.split('\n');
    assert.match(boot ?? '', /^[0-9a-f-]{36}$/);
    assert.deepEqual(after.split('\n').slice(1), rest);
    const { stdout } = await exec('cat', '/root/file', '/mnt/a b/of the host', '/proc/cmdline');
    assert.match(stdout, new RegExp(`^before\nshared\n.*systemd\\.machine_id=${rest[0]}`));
    const events = readFileSync(join(home.folder, 'nephos', 'vms', 'my_debian', 'events.json'), 'utf8');
    assert.match(events, /"shutdown": "reboot"/);
    assert.match(events, /"source": "guest",\s+"event": "ready"/);
  });
  await t.test('EFI variables are in the directory of the VM', () => {
    const { size } = statSync(join(home.folder, 'nephos', 'vms', 'my_debian', 'efi-variables.fd'));
    assert.ok(size > 0);
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

test('a guest that resets again and again ends its run with 126, and leaves nothing', async () => {
  await using home = makeHome();
  const image = join(folder, 'reset.raw');
  writeFileSync(image, resetSector());
  const { code, stderr } = await home.nephos('run', '--rm', '--firmware', SEABIOS, image, '--', 'true');
  assert.deepEqual(
    [code, stderr],
    [126, 'nephos: the guest was reset 3 times in a row before it was ready\n'],
  );
  assert.deepEqual(readdirSync(join(home.folder, 'nephos', 'vms')), ['.lock']);
});
