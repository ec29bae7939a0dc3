// Both commands as a user starts them: a VM from flags, sockets, exit codes, and invalid requests.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { guestConfig, INITRAMFS, KERNEL } from './support/guest.ts';
import { stateOf } from './support/vm-info.ts';
import { call, makeFolder, REPO, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one of the two commands to its end. */
function run(command: 'cloud-hypervisor' | 'ch-remote', ...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(REPO, 'bin', command), ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

test('a VM of the command line: serial port in a file, exit code 0 on power-off', async () => {
  const folder = makeFolder();
  const file = join(folder, 'serial log.txt');
  const log = join(folder, 'vmm.log');
  const cmdline = 'console=ttyS0 nephos.run="uname -sr; poweroff -f"';
  await using vmm = await startVmm({
    api: false,
    args: [
      ...['--kernel', KERNEL, '--initramfs', INITRAMFS, '--cmdline', cmdline, '--cpus', 'boot=1'],
      ...['--memory', 'size=384M', '--serial', `file=${file}`, '--console', 'off', '--log-file', log],
    ],
  });
  assert.equal(await vmm.exited, 0);
  assert.match(readFileSync(file, 'utf8'), /Linux version 6\.[\s\S]*NEPHOS-USERSPACE[\s\S]*Linux 6\./);
  assert.equal(vmm.output(), '');
  assert.match(readFileSync(log, 'utf8'), /^cloud-hypervisor: [\d.]+ms: <vmm> INFO:\w+ -- /);
  assert.equal(statSync(log).mode & 0o777, 0o600);
});

test('ch-remote calls each request of a VM’s lifecycle', async () => {
  await using vmm = await startVmm();
  const remote = (...args: string[]): Promise<Outcome> =>
    run('ch-remote', '--api-socket', vmm.socket, ...args);
  const config = join(vmm.folder, 'vm "1", a.json');
  writeFileSync(config, JSON.stringify(guestConfig()));
  const quiet: Outcome = { code: 0, stdout: '', stderr: '' };

  assert.match(
    (await remote('ping')).stdout,
    /^\{"version":"\d+\.\d+\.\d+","build_version":"[^"]+","pid":\d+,"features":\[\]\}\n$/,
  );
  const early = await remote('boot');
  assert.equal(early.code, 1);
  assert.equal(
    early.stderr,
    'Error running command: Server responded with an error: NotFound: ["vm.boot failed","The VM is not created"]\n',
  );
  assert.deepEqual(await remote('create', config), quiet);
  assert.deepEqual(await remote('boot'), quiet);
  assert.deepEqual(await remote('pause'), quiet);
  assert.equal(await stateOf(vmm), 'Paused');
  assert.equal((await remote('pause')).code, 1);
  assert.deepEqual(await remote('resume'), quiet);
  assert.match((await remote('info')).stdout, /^\{"config":\{.*"state":"Running".*\}\n$/);
  assert.equal((await remote('counters')).stdout, '{}\n');
  assert.deepEqual(await remote('reboot'), quiet);
  assert.deepEqual(await remote('power-button'), quiet);
  assert.deepEqual(await remote('shutdown'), quiet);
  assert.equal(await stateOf(vmm), 'Shutdown');
  assert.deepEqual(await remote('delete'), quiet);
  assert.deepEqual(await remote('shutdown-vmm'), quiet);
  assert.equal(await vmm.exited, 0);
});

for (const [args, line] of [
  [['--foo'], /^found argument '--foo'/],
  [
    ['--disk'],
    /^the argument '--disk <disk>' requires a value .*\n {2}expected path=<path>,\.\.\. For more information/,
  ],
  [['--cpu', 'boot=2'], /^found argument '--cpu' which .*\n {2}did you mean --cpus\?/],
  [['--kernel', KERNEL, '--initrd', 'x'], /^found argument '--initrd' .*\n {2}did you mean --initramfs\?/],
  [['-kernel', KERNEL], /^found argument '-kernel' .*\n {2}did you mean --kernel\?/],
  [['--seccomp', 'maybe'], /^'maybe' isn't a valid value for '--seccomp/],
  [['--kernel', KERNEL, '--kernel', KERNEL], /^the argument '--kernel <kernel>' was provided more than once/],
  [['--kernel', KERNEL, 'stray'], /^found argument 'stray' .*\n {2}--kernel takes one value/],
  [['--watchdog=on'], /^the argument '--watchdog' takes no value/],
  [['--kernel'], /^the argument '--kernel <kernel>' requires a value/],
  [['-x'], /^found argument '-x'/],
  [['--on-reboot', 'maybe'], /^'maybe' isn't a valid value for '--on-reboot/],
] as const) {
  test(`a malformed command line exits with 2 and the reason: ${args.join(' ')}`, async () => {
    const { code, stdout, stderr } = await run('cloud-hypervisor', ...args);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, line);
    assert.ok(stderr.trim().split('\n').length <= 2, stderr);
  });
}

for (const [args, line] of [
  [['--kernel', KERNEL, '--cpus', 'boot=x'], /^Error parsing config: .*unable to parse x for boot/],
  [['--kernel', '/nowhere'], /^Error booting VM: kernel \/nowhere: no such file or directory/],
  [['--kernel', KERNEL, '--cpus', '2'], /--cpus: unknown option: 2\n {2}did you mean boot=2\?/],
  [['--kernel', KERNEL, '--disk', 'a.raw'], /--disk: unknown option: a\.raw\n {2}did you mean path=a\.raw\?/],
  [['--kernel', KERNEL, '--disk', 'file=/a'], /--disk: unknown option: file\n {2}did you mean path=\/a\?/],
  [['--kernel', KERNEL, '--serial', 'stdio'], /--serial: unknown option: stdio\n {2}did you mean tty\?/],
  [
    ['--kernel', KERNEL, '--memory', 'size=512MB'],
    /512MB for size\n {2}expected a size .* did you mean 512M\?/,
  ],
  [['--kernel', KERNEL, '--memory', '1TB'], /unknown option: 1TB\n {2}did you mean size=1024G\?/],
  [
    ['--kernel', KERNEL, '--net', 'user,forward=2222:22'],
    /2222:22 for forward\n {2}expected .*<host port>-<guest port>.* did you mean 2222-22\?/,
  ],
  [
    ['--kernel', KERNEL, '--memory', 'size=1G,hotplug_method=virtio_mem'],
    /for hotplug_method\n {2}expected one of acpi, virtio-mem; did you mean virtio-mem\?/,
  ],
  [['--kernel', KERNEL, '--user-device', 'socket=/s'], /not supported yet: user_devices \(.*vfio-user\)/],
  [['--kernel', KERNEL, '--igvm', '/i'], /payload\.igvm: QEMU 10 cannot load IGVM files/],
  [
    ['--kernel', KERNEL, '--numa', 'cpus=[0,1'],
    /unknown option: 1\n {2}the list cpus=\[0 has no closing bracket/,
  ],
  [['--restore', 'source=file:///x'], /^Error parsing --restore: unknown option: source/],
  [['--event-monitor', 'x'], /^Error parsing --event-monitor: unknown option: x/],
  [['--api-socket', 'fd=x'], /^Error parsing --api-socket/],
  [['--api-socket', '/nowhere/x.sock'], /^Failed to start the VMM thread: .*\/nowhere\/x\.sock/],
] as const) {
  test(`a command line that fails exits with 1 and the reason: ${args.join(' ')}`, async () => {
    const { code, stdout, stderr } = await run('cloud-hypervisor', ...args);
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, line);
    assert.ok(stderr.trim().split('\n').length <= 2, stderr);
  });
}

test('help and version of both commands', async () => {
  const help = await run('cloud-hypervisor', '--help');
  assert.equal(help.code, 0);
  for (const flag of ['kernel', 'disk', 'net', 'api-socket', 'restore', 'seccomp', 'log-file']) {
    assert.match(help.stdout, new RegExp(`^ +--${flag}\\b`, 'm'));
  }
  assert.match((await run('cloud-hypervisor', '--version')).stdout, /^cloud-hypervisor v\d+\.\d+/);
  assert.match((await run('ch-remote', '--help')).stdout, /^ {4}power-button /m);
  const [version] = (await run('cloud-hypervisor', '--version')).stdout.split('\n');
  assert.equal(
    (await run('ch-remote', '--version')).stdout,
    `${version?.replace('cloud-hypervisor', 'ch-remote')}\n`,
  );
});

test('ch-remote exits with 2 on a malformed command line', async () => {
  for (const args of [
    [],
    ['--foo'],
    ['ping'],
    ['--api-socket', '/x', 'fly'],
    ['--api-socket', '/x', 'add-disk'],
  ]) {
    const { code, stdout, stderr } = await run('ch-remote', ...args);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.match(stderr, /^error: /);
  }
});

test('the API is served on an inherited listening socket', async () => {
  const folder = makeFolder();
  const path = join(folder, 'inherited.sock');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(folder, 'made.sock'), resolve));
  const handle: unknown = Reflect.get(server, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  assert.ok(typeof fd === 'number');
  await using vmm = await startVmm({ api: false, args: ['--api-socket', 'fd=3'], inherited: [fd] });
  // only the VMM may accept on it; closing removes the file where it was made
  renameSync(join(folder, 'made.sock'), path);
  server.close();
  await until('the API answers', async () => (await call(path, 'GET', { path: 'vmm.ping' })).status === 200);
  assert.equal((await call(path, 'PUT', { path: 'vmm.shutdown' })).status, 204);
  assert.equal(await vmm.exited, 0);
  // the socket belongs to the process that made it, which removes it
  assert.ok(existsSync(path));
});

/** Sends bytes on a new connection; returns the answer, up to a match of `enough` or the end of the connection. */
function raw(vmm: TestVmm, bytes: Buffer | string, enough: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(vmm.socket, () => socket.write(bytes));
    let answer = '';
    socket.on('data', (part: Buffer) => {
      answer += part.toString('latin1');
      if (enough.test(answer)) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
  });
}

test('malformed requests are refused, and the VM runs on', async () => {
  await using vmm = await startVmm();
  assert.equal((await vmm.put('vm.create', guestConfig())).status, 204);
  assert.equal((await vmm.put('vm.boot')).status, 204);
  const head = (method: string, path: string, more = ''): string =>
    `${method} /api/v1/${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
  const withBody = (path: string, body: string): string =>
    head('PUT', path, `Content-Length: ${Buffer.byteLength(body)}\r\n`) + body;
  const cases: readonly (readonly [string, string | Buffer, number])[] = [
    ['bad JSON', withBody('vm.add-disk', '{"path":'), 400],
    ['a wrong type', withBody('vm.add-disk', '{"path":1}'), 400],
    ['an absent field', withBody('vm.add-fs', '{}'), 400],
    ['an absent body', head('PUT', 'vm.add-disk'), 400],
    ['a body where none belongs', withBody('vm.pause', '{}'), 400],
    ['an unknown path', head('GET', 'vm.fly'), 404],
    ['a wrong method', head('GET', 'vm.boot'), 400],
    ['an unknown method', head('BREW', 'vm.info'), 400],
    ['garbage', Buffer.from([0, 1, 2, 255, 13, 10, 13, 10]), 400],
    ['a huge head', head('GET', 'vm.info', `X: ${'x'.repeat(20_000)}\r\n`), 431],
    ['a huge body', head('PUT', 'vm.add-disk', 'Content-Length: 5000000\r\n'), 413],
  ];
  // an incomplete request, open throughout the test, has no effect on other clients
  const half = connect(vmm.socket);
  half.on('error', () => undefined);
  half.write('PUT /api/v1/vm.pause HTTP/1.1\r\nContent-Le');
  for (const [what, bytes, status] of cases) {
    const answer = await raw(vmm, bytes, /\r\n\r\n\[.*\]/s);
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} \r\n`), what);
    const body = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as string[];
    assert.ok((body.at(-1)?.length ?? 0) > 0, what);
  }
  half.destroy();
  assert.equal(await stateOf(vmm), 'Running');
  assert.equal((await vmm.put('vm.pause')).status, 204);
});
