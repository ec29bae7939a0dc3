// run() of the library: a VM of an image with commands, files and ports.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { connectVsock, RunError, run, type ImageVm } from 'nephos';
import { Client } from 'ssh2';
import { makeOciImage } from './support/oci-image.ts';
import { REPO } from './support/vmm.ts';
import { until } from './support/wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'run-sdk "é" '));
process.env['XDG_STATE_HOME'] = folder;
after(() => rmSync(folder, { recursive: true }));
const image = makeOciImage(
  join(folder, 'image'),
  { Env: ['OF_IMAGE=1'], User: 'guest', WorkingDir: '/home/guest' },
  { '/etc/machine-id': 'a machine of the image\n' },
);

/** Prints what must differ between VMs, a line each: random bytes, UUID, host name, machine-id; then the time in seconds. */
const IDENTITY =
  'head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid; hostname; cat /etc/machine-id; date +%s';

const vmsIn = () => readdirSync(join(folder, 'nephos', 'vms')).filter((name) => name !== '.lock');

/** Returns the key of the SSH server of a guest. */
async function hostKeyOf({ name }: ImageVm): Promise<string> {
  const sock = await connectVsock(join(folder, 'nephos', 'vms', name, 'guest.sock'), 22);
  const client = new Client();
  const key = new Promise<string>((resolve, reject) => {
    const hostVerifier = (bytes: Buffer): boolean => {
      resolve(bytes.toString('base64'));
      return true;
    };
    client.once('error', reject).connect({ sock, username: 'root', hostVerifier });
  });
  return key.finally(() => client.destroy());
}

test('a VM of an image runs commands and copies files, and leaves nothing', async (t) => {
  await using vm = await run(image, { name: 'sdk', env: { A: 'ü' }, network: 'none' });
  await t.test('commands have the user, directory and variables of the image and the options', async () => {
    const { stdout, stderr, exitCode } = await vm.exec(
      'id -u; pwd; echo "$OF_IMAGE $A"; hostname; echo e >&2; exit 3',
    );
    assert.deepEqual([stdout, stderr, exitCode], ['1000\n/home/guest\n1 ü\nsdk\n', 'e\n', 3]);
    const root = await vm.exec(['sh', '-c', 'id -u; pwd'], { user: 'root', cwd: '/' });
    assert.equal(root.stdout, '0\n/\n');
  });
  await t.test('files are copied in both directions', async () => {
    writeFileSync(join(folder, 'in'), 'content "é"');
    await vm.upload(join(folder, 'in'), '/tmp/copy');
    assert.equal((await vm.exec(['cat', '/tmp/copy'])).stdout, 'content "é"');
    await vm.download('/tmp/copy', join(folder, 'out'));
    assert.equal(readFileSync(join(folder, 'out'), 'utf8'), 'content "é"');
  });
  await t.test('a port is forwarded without a network', async () => {
    const server = await vm.spawn(['nc', '-l', '-p', '8080', '-e', 'echo', 'from the guest']);
    await using forward = await vm.forward(0, 8080);
    await until('the server answers', async () => {
      const socket = connect(forward.port, '127.0.0.1');
      return (await text(socket)) === 'from the guest\n';
    });
    await server.exited;
  });
  await t.test('its VM is listed while it runs, and its name is taken', async () => {
    assert.deepEqual(vmsIn(), ['sdk']);
    await assert.rejects(
      run(image, { name: 'sdk' }),
      (error) => error instanceof RunError && error.fault === 'name-taken',
    );
  });
  await t.test(
    'its forks continue with its processes and files, each with an identity of its own',
    async () => {
      await vm.exec('echo of the source >/tmp/file');
      const job = await vm.spawn(['sleep', '54321']);
      job.exited.catch(() => undefined);
      const names = ['sdk', 'fork-0', 'fork-1'];
      const forks = await vm.fork(2, { name: (index) => `fork-${index}` });
      try {
        assert.deepEqual(vmsIn().toSorted(), names.toSorted());
        const all = [vm, ...forks];
        const identities = await Promise.all(all.map((one) => one.exec(IDENTITY)));
        const columns = identities.map(({ stdout }) => stdout.trim().split('\n'));
        for (const time of columns.map((lines) => Number(lines.pop())))
          assert.ok(Math.abs(time - Date.now() / 1000) < 60, `the time of a guest: ${time}`);
        assert.deepEqual(
          columns.map((lines) => lines[2]),
          names,
        );
        const keys = await Promise.all(all.map(hostKeyOf));
        const values = columns.map((lines, i) => [...lines, keys[i]]);
        for (let i = 0; i < 5; i++)
          assert.equal(new Set(values.map((one) => one[i])).size, 3, JSON.stringify(values));
        for (const fork of forks) {
          const { stdout } = await fork.exec('cat /tmp/file; ps');
          assert.match(stdout, /^of the source\n[^]*sleep 54321/);
        }
      } finally {
        for (const fork of forks) await fork[Symbol.asyncDispose]();
      }
      assert.deepEqual(vmsIn(), ['sdk']);
      assert.equal((await vm.exec('echo runs on')).stdout, 'runs on\n');
      const taken = { name: 'RunError', fault: 'name-taken' };
      await assert.rejects(vm.fork(2, { name: (index) => (index === 0 ? 'other' : 'sdk') }), taken);
      assert.deepEqual(vmsIn(), ['sdk']);
    },
  );
  await vm[Symbol.asyncDispose]();
  assert.deepEqual(vmsIn(), []);
});

test('an aborted start leaves nothing', async () => {
  const abort = new AbortController();
  const starting = run(image, { cold: true, signal: abort.signal });
  await until('its VM starts', () => vmsIn().length > 0);
  abort.abort();
  await assert.rejects(starting);
  assert.deepEqual(vmsIn(), []);
});

test('the reason of a crash is known', async () => {
  await using vm = await run(image);
  const crash = vm.exec('echo c > /proc/sysrq-trigger; sleep 60', { user: 'root' });
  crash.catch(() => undefined);
  assert.match((await vm.ended).message, /the guest's kernel panicked/);
  await assert.rejects(crash);
});

test('the example of a sandbox prints the result of the code, or why there is none', async () => {
  const example = join(REPO, 'build/examples/agent-sandbox.js');
  const { stdout } = await promisify(execFile)(process.execPath, [
    example,
    image,
    'id -u; pwd; echo é >&2; exit 4',
  ]);
  assert.deepEqual(JSON.parse(stdout), {
    exitCode: 4,
    signal: null,
    stdout: '65534\n/tmp\n',
    stderr: 'é\n',
  });
  const endless = await promisify(execFile)(process.execPath, [example, image, 'yes']);
  assert.match(endless.stdout, /^\{"error":"/);
});
