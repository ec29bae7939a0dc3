// The guest tools in guests: process 1, the image's tree, commands as their users, the SSH servers.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectGuest } from '../src/guest/connect-guest.ts';
import { POWER_OFF_COMMAND, refreshCommand, RELAY_COMMAND } from '../src/run/guest-tools/enter-command.ts';
import { joinLayers } from '../src/run/guest-tools/layer-disk.ts';
import { serveGuestSocket } from '../src/run/owner/guest-socket.ts';
import { connectVsock } from '../src/sdk/vsock.ts';
import { Duplex } from 'node:stream';
import { bootToolsGuest, makeBusyboxTree, makeSquashfs, TOOLS_USER } from './support/tools-guest.ts';
import { makeFolder } from './support/vmm.ts';
import { until, within } from './support/wait.ts';

const FILES = {
  'etc/passwd':
    'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nodd:x:notanumber:5::/:/bin/sh\n',
  'etc/group': 'root:x:0:\napp:x:1000:\naudio:x:29:other,app\nvideo:x:44:other\nlast:x:99:app',
  'etc/machine-id': `${'0'.repeat(32)}\n`,
  'home/app/': '',
  'script-without-interpreter': 'echo\n',
};

/** Number of layers of the image; each has a file of its own, and replaces one of the layer below. */
const LAYERS = 6;

function makeLayers(folder: string): string[] {
  return Array.from({ length: LAYERS }, (_, index) => {
    const root = join(folder, `layer${index}`);
    const files = { [`layer${index}`]: '', shared: `${index}` };
    if (index === 0) makeBusyboxTree(root, { ...FILES, ...files });
    else {
      mkdirSync(root);
      for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
    }
    makeSquashfs(root, `${root}.sqfs`);
    return `${root}.sqfs`;
  });
}

test('an image of layers', async (t) => {
  const folder = makeFolder();
  t.after(() => rmSync(folder, { recursive: true }));
  const disks = makeLayers(folder);
  await using running = await bootToolsGuest({
    disks,
    setup: {
      root: { kind: 'disks', serials: disks.map((_, index) => `layer${index}`) },
      hasVolumes: false,
      hostname: 'first',
      hasNetwork: true,
    },
    login: { env: ['FROM=image'], workingDirectory: '/tmp', user: 'app' },
    config: { net: [{ backend: 'user' }] },
  });
  const { guest } = running;
  const textOf = async (...words: Parameters<typeof guest.exec>): Promise<string> => {
    const { stdout, stderr, exitCode } = await guest.exec(...words);
    assert.deepEqual([exitCode, stderr], [0, ''], String(words[0]));
    return stdout.trimEnd();
  };

  await t.test('upper layers cover lower ones, and the tree can be written', async () => {
    assert.equal(await textOf('cat /shared'), `${LAYERS - 1}`);
    assert.equal(await textOf('ls -d /layer*'), disks.map((_, index) => `/layer${index}`).join('\n'));
    assert.equal(
      await textOf('echo new >/shared; rm /layer0; cat /shared; ls -d /layer0 2>/dev/null || echo gone'),
      'new\ngone',
    );
  });

  await t.test('users, groups and supplementary groups are those of docker', async () => {
    const idOf = (user: string): Promise<string> => textOf('echo $(id -u) $(id -g) $(id -G) $HOME', { user });
    assert.equal(await idOf(''), '0 0 0 /root');
    assert.equal(await idOf('app'), '1000 1000 1000 29 99 /home/app');
    assert.equal(await idOf('1000'), '1000 1000 1000 29 99 /home/app');
    assert.equal(await idOf('app:video'), '1000 44 44 /home/app');
    assert.equal(await idOf('1000:77'), '1000 77 77 /home/app');
    assert.equal(await idOf('4321'), '4321 0 0 /');
    for (const user of ['absent', 'app:absent', '-1', '99999999999']) {
      const { exitCode, stderr, stdout } = await guest.exec(['id'], { user });
      assert.deepEqual([exitCode, stdout], [126, ''], user);
      assert.match(stderr, /^nephos: unable to find (user|group) /);
    }
  });

  await t.test('the environment is that of the command, with PATH and HOME', async () => {
    const env = { A: `two words 'and' "quotes" $HOME\n`, EMPTY: '' };
    const { stdout } = await guest.exec(['cat', '/proc/self/environ'], { env, user: 'app' });
    const [path = '', ...others] = stdout
      .split('\0')
      .filter((one) => one !== '')
      .toSorted()
      .toReversed();
    assert.match(path, /^PATH=.*:\/bin$/);
    assert.deepEqual(others, ['HOME=/home/app', 'EMPTY=', `A=${env.A}`]);
    const { stdout: exact } = await guest.exec(['cat', '/proc/self/environ'], {
      env: { PATH: '/bin', HOME: '/x' },
    });
    assert.equal(exact, 'PATH=/bin\0HOME=/x\0');
  });

  await t.test('a signal right after its start ends a command', async () => {
    for (const name of Array.from({ length: 10 }, () => ['INT', 'TERM', 'HUP', 'USR1']).flat()) {
      const command = await guest.spawn(['sleep', '1000']);
      await command.kill(`SIG${name}`);
      assert.deepEqual(await command.exited, { exitCode: null, signal: name });
    }
  });

  await t.test('the working directory', async () => {
    assert.equal(await textOf(['pwd'], { cwd: '/home/app' }), '/home/app');
    const { exitCode, stderr } = await guest.exec(['pwd'], { cwd: '/absent' });
    assert.equal(exitCode, 126);
    assert.match(stderr, /working directory \/absent: No such file or directory/);
  });

  await t.test('exit codes and signals', async () => {
    for (const code of [0, 1, 42, 255]) assert.equal((await guest.exec(`exit ${code}`)).exitCode, code);
    assert.equal((await guest.exec(['absent'])).exitCode, 127);
    assert.equal((await guest.exec(['/absent/program'])).exitCode, 127);
    for (const file of ['/etc/passwd', '/tmp', './etc'])
      assert.equal((await guest.exec([file])).exitCode, 126, file);
    assert.equal(
      (await guest.exec('chmod 755 /script-without-interpreter; exec /script-without-interpreter')).exitCode,
      0,
      'by a shell',
    );
    assert.equal((await guest.exec(['/script-without-interpreter'])).exitCode, 126, 'Exec format error');
    for (const signal of ['KILL', 'TERM', 'SEGV']) {
      assert.deepEqual(
        (({ exitCode, signal: name }) => [exitCode, name])(await guest.exec(`kill -${signal} $$`)),
        [null, signal],
      );
    }
  });

  await t.test('an ordinary user opens its outputs by their names', async () => {
    const result = await guest.exec('echo out >/dev/stdout; echo err >/dev/stderr', { user: 'app' });
    assert.deepEqual([result.exitCode, result.stdout, result.stderr], [0, 'out\n', 'err\n']);
  });

  await t.test('the SSH server is on a port with a name, and the guest has no terminal for it', async () => {
    const script = 'cat /sys/class/virtio-ports/*/name; test ! -e /dev/hvc0';
    assert.equal(await textOf(script), 'nephos.ssh');
  });
  await t.test('user namespaces work', async () => {
    assert.equal(await textOf('unshare -Ur id -u', { user: 'app' }), '0');
  });

  await t.test('process 1 waits for orphans', async () => {
    await textOf('for i in 1 2 3 4 5; do (sleep 0.2 &) ; done');
    await until(
      'no zombies',
      async () => (await textOf('grep -l "^State:.Z" /proc/[0-9]*/status 2>/dev/null | wc -l')) === '0',
    );
    assert.equal(await textOf('cat /proc/1/comm'), 'enter');
  });

  await t.test('many commands at the same time', async () => {
    const results = await Promise.all(
      Array.from({ length: 30 }, (_, i) => guest.exec(['sh', '-c', `echo ${i}; exit ${i}`])),
    );
    assert.deepEqual(
      results.map(({ stdout, exitCode }) => [stdout, exitCode]),
      results.map((_, i) => [`${i}\n`, i]),
    );
  });

  await t.test('network, names and host name', async () => {
    assert.equal(await textOf('hostname; cat /etc/hostname'), 'first\nfirst');
    assert.match(await textOf('cat /etc/hosts'), /^192\.168\.249\.15\tfirst$/m);
    assert.equal(await textOf('cat /etc/resolv.conf'), 'nameserver 192.168.249.3');
    assert.match(await textOf('ip -4 addr show eth0'), /inet 192\.168\.249\.15\/24/);
    assert.match(await textOf('ip route'), /^default via 192\.168\.249\.1 dev eth0/m);
    assert.match(await textOf('ping -c 1 -W 20 192.168.249.1'), / 0% packet loss/);
  });

  await t.test('a refresh changes clock, host name and machine id', async () => {
    const now = Date.UTC(2031, 1, 2, 3, 4, 5);
    const machineId = 'ab'.repeat(16);
    const text = refreshCommand({ now, entropy: Buffer.alloc(64, 1), hostname: 'second', machineId });
    assert.equal((await guest.exec(text, { user: TOOLS_USER })).exitCode, 0);
    assert.equal(
      await textOf('hostname; cat /etc/machine-id; date -u +%Y-%m-%dT%H'),
      `second\n${machineId}\n2031-02-02T03`,
    );
  });

  await t.test('further connections are in the tree of the image, as its user', async () => {
    await using _server = await serveGuestSocket(join(folder, 'guest.sock'), async () => {
      const { stdin, stdout } = await guest.spawn(RELAY_COMMAND, { user: TOOLS_USER });
      return Duplex.from({ readable: stdout, writable: stdin });
    });
    const connect = async () =>
      connectGuest({
        stream: await connectVsock(join(folder, 'guest.sock'), 22),
        user: 'root',
        timeoutMs: 120_000,
      });
    await using other = await connect();
    assert.equal((await other.exec('id -un; pwd; echo $FROM')).stdout, 'app\n/tmp\nimage\n');
    await other.upload(join(folder, 'layer1.sqfs'), '/tmp/copy');
    await other.download('/tmp/copy', join(folder, 'copy'));
    assert.ok(readFileSync(join(folder, 'copy')).equals(readFileSync(join(folder, 'layer1.sqfs'))));
    assert.equal(await textOf('ls -l /tmp/copy | cut -c 1'), '-');
  });

  await t.test('files are copied in an image without /etc/passwd', async () => {
    const copy = join(folder, 'copy-without-users');
    await textOf('mv /etc/passwd /passwd', { user: '0:0' });
    try {
      await guest.upload(join(folder, 'layer1.sqfs'), '/copied');
      await guest.download('/copied', copy);
    } finally {
      await textOf('mv /passwd /etc/passwd', { user: '0:0' });
    }
    assert.ok(readFileSync(copy).equals(readFileSync(join(folder, 'layer1.sqfs'))));
  });

  await t.test('power-off ends the VM', async () => {
    guest.exec(POWER_OFF_COMMAND, { user: TOOLS_USER }).catch(() => undefined);
    assert.equal(await within(60_000, 'power-off', () => running.vmm.exited), 0);
  });
});

test('a directory as image, and volumes', async () => {
  const folder = makeFolder();
  const [root, volume] = [join(folder, 'root'), join(folder, 'volume')];
  makeBusyboxTree(root, FILES);
  mkdirSync(volume);
  try {
    const shares = [
      { tag: 'root', directory: root, readonly: true },
      { tag: 'volume0', directory: volume },
      { tag: 'volume1', directory: volume, readonly: true },
    ];
    await using running = await bootToolsGuest({
      setup: {
        root: { kind: 'share', tag: 'root' },
        hasVolumes: true,
        hostname: 'box',
        hasNetwork: false,
      },
      volumes: [
        { tag: 'volume0', path: '/srv/a b/é', isReadOnly: false },
        { tag: 'volume1', path: '/etc/fixed', isReadOnly: true },
      ],
      config: {
        fs: shares.map((share) => ({ id: share.tag, ...share })),
        memory: { size: 256 * 2 ** 20, shared: true },
      },
    });
    const { guest } = running;
    assert.equal(
      (await guest.exec('echo in-guest >"/srv/a b/é/file"; cat /etc/fixed/file')).stdout,
      'in-guest\n',
    );
    assert.equal(readFileSync(join(volume, 'file'), 'utf8'), 'in-guest\n');
    const refused = await guest.exec('echo x >/etc/fixed/other');
    assert.equal(refused.exitCode, 1);
    assert.match(refused.stderr, /Read-only file system/);
    assert.equal(
      (await guest.exec('echo changed >/etc/machine-id; cat /etc/machine-id')).stdout,
      'changed\n',
    );
    assert.equal(readFileSync(join(root, 'etc/machine-id'), 'utf8'), FILES['etc/machine-id']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a kernel alone has busybox, and a directory of the host at its own path', async () => {
  const folder = makeFolder();
  writeFileSync(join(folder, 'test.sh'), '#!/bin/sh\necho "$PWD: $(id -un)"; unshare -Ur true && exit 7\n', {
    mode: 0o755,
  });
  try {
    await using running = await bootToolsGuest({
      setup: {
        root: { kind: 'none' },
        hasVolumes: true,
        hostname: 'box',
        hasNetwork: false,
      },
      volumes: [{ tag: 'volume0', path: folder, isReadOnly: false }],
      config: {
        fs: [{ id: 'volume0', tag: 'volume0', directory: folder }],
        memory: { size: 256 * 2 ** 20, shared: true },
      },
    });
    const result = await running.guest.exec(['./test.sh'], { cwd: folder });
    assert.deepEqual([result.exitCode, result.stdout, result.stderr], [7, `${folder}: root\n`, '']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('an image of 40 layers', async () => {
  const folder = makeFolder();
  try {
    const layers = Array.from({ length: 40 }, (_, index) => {
      const root = join(folder, `root${index}`);
      const files = { [`layers/${index}`]: '', shared: `${index}` };
      if (index === 0) makeBusyboxTree(root, files);
      else mkdirSync(join(root, 'layers'), { recursive: true });
      for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
      makeSquashfs(root, `${root}.sqfs`);
      return { diffId: `sha256:${folder}${index}`, path: `${root}.sqfs` };
    });
    const process = {
      entrypoint: [],
      command: [],
      env: [],
      workingDirectory: '/',
      user: '',
      stopSignal: '',
      exposedPorts: [],
    };
    const image = await joinLayers({
      kind: 'oci',
      name: 'many',
      digest: 'sha256:0',
      layers,
      process,
      labels: {},
    });
    assert.equal(image.layers.length, 20);
    await using running = await bootToolsGuest({
      disks: image.layers.map(({ path }) => path),
      setup: {
        root: {
          kind: 'disks',
          serials: image.layers.map((_, index) => `layer${index}`),
          partitions: image.layers.map(({ partitions = 0 }) => partitions),
        },
        hasVolumes: false,
        hostname: 'box',
        hasNetwork: false,
      },
    });
    const { stdout } = await running.guest.exec('ls /layers | wc -l; cat /shared');
    assert.equal(stdout, '40\n39');
    const again = await joinLayers({ ...image, layers });
    assert.deepEqual(again.layers, image.layers);
    rmSync(image.layers[0]?.path ?? '');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
