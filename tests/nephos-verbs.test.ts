// The verbs of nephos on one VM that runs in the background, as a user types them.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { makeHome, type Outcome, type TestHome } from './support/nephos.ts';
import { makeOciImage } from './support/oci-image.ts';
import { makeFolder } from './support/vmm.ts';
import { openTerminal } from './support/terminal.ts';
import { until } from './support/wait.ts';

const run = promisify(execFile);

/** Prints a line for SIGUSR1, and exits with 7 after SIGTERM. */
const SERVICE = [
  'trap "echo got USR1" USR1',
  'trap "echo got TERM; exit 7" TERM',
  'echo started; echo to stderr >&2',
  'while :; do sleep 0.1; done',
].join('\n');

const folder = makeFolder();
let home: TestHome;

before(async () => {
  home = makeHome();
  const image = makeOciImage(join(folder, 'image'), {
    Env: ['PATH=/bin', 'FROM_IMAGE=1'],
    WorkingDir: '/tmp',
  });
  const flags = ['-d', '--name', 'web', '-e', 'FROM_RUN=2', '-p', '0:80', '-l', 'job=42', '--memory', '256M'];
  const { code, stdout, stderr } = await home.nephos('run', ...flags, image, '--', 'sh', '-c', SERVICE);
  assert.deepEqual([code, stdout], [0, 'web\n'], stderr);
});
after(async () => {
  await home[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const quiet = (stdout = '', code = 0): Outcome => ({ code, stdout, stderr: '' });

test('ps, port and inspect show the VM', async () => {
  const [vm] = JSON.parse((await home.nephos('ps', '--filter', 'label=job=42', '--format', 'json')).stdout);
  assert.deepEqual([vm.name, vm.state, vm.memory], ['web', 'running', 2 ** 28]);
  const { stdout } = await home.nephos('port', 'web', '80');
  assert.match(stdout, /^127\.0\.0\.1:[1-9]\d*\n$/);
  const [facts] = JSON.parse((await home.nephos('inspect', 'web')).stdout);
  assert.equal(facts.vm.state, 'Running');
});

for (const code of [0, 1, 42, 255]) {
  test(`exec exits with ${code} of the command`, async () =>
    assert.deepEqual(await home.nephos('exec', 'web', '--', 'sh', '-c', `exit ${code}`), quiet('', code)));
}

test('exec exits with 128 and the signal, 127 for no command and 126 for no program', async () => {
  assert.equal((await home.nephos('exec', 'web', 'sh', '-c', 'kill -TERM $$')).code, 143);
  assert.equal((await home.nephos('exec', 'web', 'no-such-command')).code, 127);
  assert.equal((await home.nephos('exec', 'web', '/etc/passwd')).code, 126);
  assert.equal((await home.nephos('exec', '--timeout', '1s', 'web', 'sleep', '1000')).code, 124);
});

test('exec keeps the outputs apart and passes binary input', async () => {
  const outcome = await home.nephos('exec', 'web', 'sh', '-c', 'echo out; echo err >&2');
  assert.deepEqual(outcome, { code: 0, stdout: 'out\n', stderr: 'err\n' });
  const bytes = Buffer.alloc(
    2 ** 20,
    Uint8Array.from({ length: 256 }, (_, i) => i),
  );
  const { stdout } = await home.nephosWith(bytes, 'exec', '-i', 'web', 'md5sum');
  assert.equal(stdout.split(' ')[0], createHash('md5').update(bytes).digest('hex'));
  // without -i the command reads end of file
  assert.deepEqual(await home.nephosWith('x', 'exec', 'web', 'wc', '-c'), quiet('0\n'));
});

test('exec has the variables, directory and user of the run unless options replace them', async () => {
  const script = 'echo $FROM_IMAGE $FROM_RUN $EXTRA $(pwd) $(id -u):$(id -g)';
  assert.deepEqual(await home.nephos('exec', 'web', 'sh', '-c', script), quiet('1 2 /tmp 0:0\n'));
  const flags = ['-e', 'EXTRA=a b', '-e', 'FROM_RUN=3', '-w', '/etc', '-u', 'guest'];
  assert.deepEqual(
    await home.nephos('exec', ...flags, 'web', 'sh', '-c', script),
    quiet('1 3 a b /etc 1000:1000\n'),
  );
});

test('cp copies files, directories and streams in both directions', async () => {
  const source = join(folder, 'a dir, with "quotes"');
  mkdirSync(join(source, 'inner'), { recursive: true });
  writeFileSync(join(source, 'inner/file'), 'content\n', { mode: 0o755 });
  assert.deepEqual(await home.nephos('cp', source, 'web:/root'), quiet());
  assert.deepEqual(await home.nephos('cp', source, 'web:/root/new'), quiet());
  const listed = await home.nephos('exec', '-w', '/root', 'web', 'find', '.', '-type', 'f');
  assert.deepEqual(listed.stdout.trim().split('\n').toSorted(), [
    './a dir, with "quotes"/inner/file',
    './new/inner/file',
  ]);
  const back = join(folder, 'back');
  assert.deepEqual(await home.nephos('cp', 'web:/root/new', back), quiet());
  assert.equal(readFileSync(join(back, 'inner/file'), 'utf8'), 'content\n');
  assert.equal(statSync(join(back, 'inner/file')).mode & 0o777, 0o755);
  const absent = await home.nephos('cp', 'web:/absent', folder);
  assert.equal(absent.code, 1);
  assert.match(absent.stderr, /\/absent/);
});

test('cp passes tar archives on the standard streams', async () => {
  const source = join(folder, 'archived');
  mkdirSync(source);
  writeFileSync(join(source, 'stream'), 'stream\n');
  const archive = execFileSync('tar', ['-C', folder, '-cf', '-', 'archived']);
  assert.deepEqual(await home.nephosWith(archive, 'cp', '-', 'web:/root'), quiet());
  const { stdout } = await home.nephos('cp', 'web:/root/archived', '-');
  assert.equal(execFileSync('tar', ['-xOf', '-'], { input: stdout }).toString(), 'stream\n');
  assert.deepEqual(await home.nephos('cp', 'web:/root/archived/stream', folder), quiet());
  assert.equal(readFileSync(join(folder, 'stream'), 'utf8'), 'stream\n');
  const refused = await home.nephosWith('no archive', 'cp', '-', 'web:/root');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /the tar archive for \/root: /);
});

test('ssh, scp and the settings that ssh-config prints reach the image', async () => {
  const config = join(folder, 'ssh config');
  writeFileSync(config, (await home.nephos('ssh-config', 'web')).stdout);
  const { stdout } = await run('ssh', ['-F', config, 'web', 'cat /etc/passwd | head -1; id -u']);
  assert.equal(stdout, 'root:x:0:0:root:/root:/bin/sh\n0\n');
  writeFileSync(join(folder, 'copied'), 'by scp\n');
  await run('scp', ['-F', config, join(folder, 'copied'), 'web:/root/copied']);
  assert.deepEqual(await home.nephos('ssh', 'web', 'cat', '/root/copied'), quiet('by scp\n'));
  assert.equal((await home.nephos('ssh', 'web', 'exit', '3')).code, 3);
});

test('logs prints and follows the output of the command', async () => {
  assert.deepEqual(await home.nephos('logs', 'web'), { code: 0, stdout: 'started\n', stderr: 'to stderr\n' });
  assert.equal((await home.nephos('logs', '--serial', 'web')).code, 0);
  const follower = home.start('logs', '-f', 'web');
  let shown = '';
  follower.stdout.on('data', (bytes: Buffer) => (shown += bytes.toString()));
  await until('the log is shown', () => shown === 'started\n');
  assert.deepEqual(await home.nephos('kill', '-s', 'USR1', 'web'), quiet('web\n'));
  await until('further output is shown', () => shown === 'started\ngot USR1\n');
  follower.kill();
});

test('stats measures the VM', async () => {
  await home.nephos('exec', 'web', 'ping', '-c', '1', '-s', '1000', '192.168.249.1');
  const [usage] = JSON.parse((await home.nephos('stats', '--no-stream', '--format', 'json')).stdout);
  assert.equal(usage.name, 'web');
  assert.ok(usage.memory > 2 ** 24 && usage.cpuPercent > 0, JSON.stringify(usage));
  assert.ok(usage.diskRead > 0);
  assert.ok(usage.netReceived > 1000 && usage.netSent > 1000, JSON.stringify(usage));
});

test('pause and resume are states of ps, and events', async () => {
  const events = home.start('events', '--format', 'json', 'web');
  let seen = '';
  events.stdout.on('data', (bytes: Buffer) => (seen += bytes.toString()));
  const hasSeen = (event: string): boolean => seen.includes(`"event":"${event}"`);
  await until('events follows', async () => {
    await home.nephos('pause', 'web');
    const [vm] = JSON.parse((await home.nephos('ps', '--format', 'json')).stdout);
    assert.equal(vm.state, 'paused');
    const refused = await home.nephos('exec', 'web', 'true');
    assert.deepEqual([refused.code, refused.stdout], [125, '']);
    assert.equal(refused.stderr, 'nephos: the VM web is paused\nnephos resume web continues it\n');
    await home.nephos('resume', 'web');
    return hasSeen('paused') && hasSeen('resumed');
  });
  events.kill();
  assert.equal((await home.nephos('exec', 'web', 'true')).code, 0);
});

test('snapshot makes a new directory, and the VM continues', async () => {
  const path = join(folder, 'snapshot');
  assert.deepEqual(await home.nephos('snapshot', 'web', path), quiet(`${path}\n`));
  assert.ok(statSync(path).isDirectory());
  assert.equal((await home.nephos('snapshot', 'web', path)).code, 1);
  assert.equal((await home.nephos('exec', 'web', 'true')).code, 0);
});

test('exec -it gives the command a terminal, whose settings are restored', async () => {
  using terminal = await openTerminal('rows', '33', 'cols', '99');
  const before = terminal.settings();
  const child = home.onTerminal(terminal.path, 'exec', '-it', 'web', 'sh');
  const exited = once(child, 'exit');
  await until('the terminal is raw', terminal.isRaw);
  await terminal.shell.sees('# ');
  terminal.shell.type("stty -echo; PS1=; echo qui''et\r");
  await terminal.shell.sees('quiet\n');
  assert.equal(await terminal.shell.run('stty size; tty >/dev/null && echo $TERM'), '33 99\nxterm');
  const from = terminal.shell.shown().length;
  terminal.shell.type('sh -c "echo waits; exec sleep 1000"\r');
  await until('the program runs', () => terminal.shell.shown().includes('waits\n', from));
  terminal.shell.type('\u0003');
  assert.equal(await terminal.shell.run('echo after'), 'after');
  terminal.shell.type('exit 5\r');
  assert.deepEqual(await exited, [5, null]);
  assert.equal(terminal.settings(), before);
});

test('console shows the serial port and takes input until Ctrl-], and restores the terminal', async () => {
  using terminal = await openTerminal();
  const before = terminal.settings();
  const child = home.onTerminal(terminal.path, 'console', 'web');
  const exited = once(child, 'exit');
  await terminal.shell.sees('Ctrl-] disconnects');
  await until('the terminal is raw', terminal.isRaw);
  await home.nephos('exec', 'web', 'sh', '-c', 'echo message of the guest > /dev/ttyS0');
  await terminal.shell.sees('message of the guest');
  const script = 'exec 3<>/dev/ttyS0; echo ready >&3; read line <&3; echo "read: $line" >&3';
  const reader = home.nephos('exec', 'web', 'sh', '-c', script);
  await terminal.shell.sees('ready');
  terminal.shell.type('typed words\r');
  await terminal.shell.sees('read: typed words');
  assert.equal((await reader).code, 0);
  terminal.shell.type('\u001d');
  assert.deepEqual(await exited, [0, null]);
  assert.equal(terminal.settings(), before);
});

test('Ctrl-C ends a command without a terminal', async () => {
  using terminal = await openTerminal();
  const child = home.onTerminal(terminal.path, 'exec', 'web', 'sh', '-c', 'echo waits; exec sleep 1000');
  const exited = once(child, 'exit');
  await terminal.shell.sees('waits\n');
  terminal.shell.type('\u0003');
  assert.deepEqual(await exited, [130, null]);
  const { stdout } = await home.nephos('exec', 'web', 'sh', '-c', 'ps | grep "[s]leep 1000" | wc -l');
  assert.equal(stdout, '0\n');
});

test('stop ends the command by SIGTERM; the exit and the log are kept until rm', async () => {
  assert.deepEqual(await home.nephos('stop', 'web'), quiet('web\n'));
  const [vm] = JSON.parse((await home.nephos('ps', '-a', '--format', 'json')).stdout);
  assert.deepEqual([vm.name, vm.state, vm.exitCode], ['web', 'exited', 7]);
  assert.match((await home.nephos('logs', 'web')).stdout, /got TERM\n$/);
  assert.equal((await home.nephos('exec', 'web', 'true')).code, 125);
  assert.deepEqual(await home.nephos('rm', 'web'), quiet('web\n'));
  const absent = await home.nephos('rm', '-f', 'web');
  assert.deepEqual([absent.code, absent.stdout], [0, '']);
  assert.match(absent.stderr, /there is no VM "web"/);
  assert.equal((await home.nephos('ps', '-aq')).stdout, '');
});

test('a VM whose owner process was killed is crashed, and can be removed', async () => {
  const image = `oci:${join(folder, 'image')}`;
  await home.nephos('run', '-d', '--name', 'lost', image, 'sleep', '1000');
  const [facts] = JSON.parse((await home.nephos('inspect', 'lost')).stdout);
  process.kill(facts.ownerPid, 'SIGKILL');
  await until('it is crashed', async () => (await home.nephos('ps', '-a')).stdout.includes('crashed'));
  assert.deepEqual(await home.nephos('rm', 'lost'), quiet('lost\n'));
});

test('prune removes exited and crashed VMs, and none that runs', async () => {
  await using own = makeHome();
  const image = `oci:${join(folder, 'image')}`;
  await Promise.all([
    own.nephos('run', '-d', '--name', 'lost', image, 'sleep', '1000'),
    own.nephos('run', '-d', '--name', 'alive', image, 'sleep', '1000'),
    own.nephos('run', '--name', 'ended', image, 'true'),
  ]);
  const [facts] = JSON.parse((await own.nephos('inspect', 'lost')).stdout);
  process.kill(facts.ownerPid, 'SIGKILL');
  await until('it is crashed', async () => (await own.nephos('ps', '-a')).stdout.includes('crashed'));
  // a cache of its own: other tests use the images and snapshots of the user
  own.env['NEPHOS_CACHE'] = join(own.folder, 'cache');
  const pruned = await own.nephos('prune', '-f');
  assert.deepEqual([pruned.code, pruned.stderr], [0, '']);
  const removed = pruned.stdout.split('\n').filter((line) => line.startsWith('VM '));
  assert.deepEqual(removed.toSorted(), ['VM ended', 'VM lost']);
  assert.equal((await own.nephos('ps', '-aq')).stdout, 'alive\n');
});

test('a killed VM has exited, and the follower of its log ends', async () => {
  const image = `oci:${join(folder, 'image')}`;
  await home.nephos('run', '-d', '--name', 'short', image, 'sleep', '1000');
  const follower = home.start('logs', '-f', 'short');
  const output = text(follower.stdout);
  assert.deepEqual(await home.nephos('kill', 'short'), quiet('short\n'));
  assert.equal(await output, '');
  assert.match((await home.nephos('ps', '-a')).stdout, /short .*exited \(137\)/);
  assert.deepEqual(await home.nephos('rm', 'short'), quiet('short\n'));
});
