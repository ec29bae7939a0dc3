// The single executables of `npm run build:binary`: process name, a guest, and a system without Node.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import { assertStatus } from './support/answers.ts';
import { createAndBoot, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { makeHome } from './support/nephos.ts';
import { makeOciImage } from './support/oci-image.ts';
import { makeFolder, startVmm } from './support/vmm.ts';
import { exchange, startEcho } from './support/vsock.ts';

const FOLDER = resolve('build', 'binary', `linux-${process.arch}`);
const PROGRAM = join(FOLDER, 'cloud-hypervisor');
const REMOTE = join(FOLDER, 'ch-remote');
const ECHO_PORT = 16;

const run = promisify(execFile);

before(() =>
  execFileSync('npm', ['run', '--silent', 'build:binary'], { stdio: ['ignore', 'ignore', 'inherit'] }),
);

test('the process is named cloud-hypervisor', async () => {
  await using vmm = await startVmm({ program: PROGRAM });
  assert.equal(readlinkSync(`/proc/${vmm.pid}/exe`), PROGRAM);
  // the kernel keeps 15 characters
  assert.equal(readFileSync(`/proc/${vmm.pid}/comm`, 'utf8'), 'cloud-hyperviso\n');
  assert.equal(readFileSync(`/proc/${vmm.pid}/cmdline`, 'utf8').split('\0')[0], PROGRAM);
});

test('a guest with a PTY and vsock, which need the native library and a thread', async () => {
  await using vmm = await startVmm({ program: PROGRAM });
  const socket = join(vmm.folder, 'vsock');
  const config = guestConfig({ vsock: { cid: 3, socket } }, { tools: true });
  await createAndBoot(vmm, config);
  const shell = await login(vmm);
  await startEcho(shell, ECHO_PORT);
  assert.match(await exchange(socket, `CONNECT ${ECHO_PORT}\nhello`), /^OK \d+\nhello$/);
  const { stdout } = await run(REMOTE, ['--api-socket', vmm.socket, 'info']);
  assert.match(stdout, /"state":"Running"/);
  // the log has one more line, with the reason for emulation
  const problems = vmm
    .output()
    .split('\n')
    .filter((line) => /WARN|ERROR/.test(line) && !line.includes('WARN:accel'));
  assert.deepEqual(problems, []);
});

test('nephos runs an image, also in the background, with cloud-hypervisor beside it', async () => {
  const image = makeOciImage(join(makeFolder(), 'image'));
  await using home = makeHome([join(FOLDER, 'nephos')]);
  const result = await home.nephos('run', '--rm', image, '--', 'sh', '-c', 'echo out; exit 3');
  assert.deepEqual(result, { code: 3, stdout: 'out\n', stderr: '' });
  const started = await home.nephos('run', '-d', '--name', 'web', image, 'sleep', '1000');
  assert.deepEqual(started, { code: 0, stdout: 'web\n', stderr: '' });
  const [{ vmmPid }] = JSON.parse((await home.nephos('inspect', 'web')).stdout);
  assert.equal(readlinkSync(`/proc/${vmmPid}/exe`), PROGRAM);
  assert.equal((await home.nephos('exec', 'web', 'echo', 'further')).stdout, 'further\n');
  assert.match((await home.nephos('ssh-config', 'web')).stdout, /ProxyCommand .*\/nephos connect web/);
  assert.equal((await home.nephos('ssh', 'web', 'echo', 'by ssh')).stdout, 'by ssh\n');
});

test('both run in a root folder with only the C library and /proc', async () => {
  assert.equal(process.getuid?.(), 0, 'this test needs root: it calls mount and chroot');
  const root = makeFolder();
  // a copy in / would have the system's /lib beside it
  const folder = '/opt/my programs';
  cpSync(FOLDER, join(root, folder), { recursive: true });
  for (const library of await cLibrary(PROGRAM)) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(library, join(root, library));
  }
  for (const name of ['tmp', 'proc']) mkdirSync(join(root, name));
  const through = ['unshare', '--mount', 'sh', '-ec', MOUNT_AND_ENTER, root];
  await using vmm = await startVmm({
    program: `${folder}/cloud-hypervisor`,
    through,
    socket: join(root, 'api'),
    socketInside: '/api',
  });
  assertStatus(await vmm.get('vmm.ping'), 200);
  const [command = '', ...args] = through;
  const { stdout } = await run(command, [...args, `${folder}/ch-remote`, '--api-socket', '/api', 'ping']);
  assert.match(stdout, /^\{"version":/);
});

/** Shell commands for `unshare --mount`: mount /proc in the root folder `$0`, whose loader needs it, and run "$@" there. */
const MOUNT_AND_ENTER = 'mount -t proc proc "$0/proc"; exec chroot "$0" "$@"';

/** Files of glibc's package, which has no C++ runtime. */
const C_LIBRARY = /^(?:ld-linux.*|libc|libm|libdl|libpthread|librt)\.so\.\d+$/;

/** Paths of the C library's files that an executable needs, with the loader. */
async function cLibrary(executable: string): Promise<string[]> {
  const { stdout } = await run('ldd', [executable]);
  const paths = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
  return paths.filter((path) => C_LIBRARY.test(basename(path)));
}
