// Verbs that need no guest, on real VM directories: the program runs as a user starts it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { text } from 'node:stream/consumers';
import { once } from 'node:events';
import { createVm, type OwnedVm } from '../../run/vm-directory/vm-directories.ts';
import { testRequest } from './test-request.ts';

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Home {
  readonly nephos: (...args: string[]) => Promise<Outcome>;
  readonly create: (name: string, members?: Parameters<typeof testRequest>[1]) => Promise<OwnedVm>;
}

async function inHome(act: (home: Home) => Promise<void>): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'nephos-home-'));
  try {
    await act({
      nephos: async (...args) => {
        const child = spawn(process.execPath, ['bin/nephos', ...args], {
          env: { ...process.env, XDG_STATE_HOME: home },
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        const [stdout, stderr, [code]] = await Promise.all([
          text(child.stdout),
          text(child.stderr),
          once(child, 'exit') as Promise<[number | null]>,
        ]);
        return { code, stdout, stderr };
      },
      create: (name, members) =>
        createVm({ request: testRequest(name, members), access: 'tools' }, join(home, 'nephos', 'vms')),
    });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

test('ps shows states, filters and forms; rm removes ended VMs only', () =>
  inHome(async ({ nephos, create }) => {
    using booting = await create('booting', { labels: { job: '1' } });
    const exited = await create('exited', { labels: { job: '2', extra: '' } });
    exited.update({ exit: { code: 3 }, finished: new Date().toISOString() });
    exited[Symbol.dispose]();
    (await create('crashed', { image: 'debian:13' }))[Symbol.dispose]();

    const { stdout } = await nephos('ps', '-a');
    const rows = stdout
      .trim()
      .split('\n')
      .map((row) => row.split(/ {2,}/).slice(0, 3));
    assert.deepEqual(rows.shift(), ['NAME', 'IMAGE', 'STATE']);
    // VMs of the same millisecond have no order
    assert.deepEqual(
      rows.toSorted(([a = ''], [b = '']) => a.localeCompare(b)),
      [
        ['booting', 'alpine:3.20', 'created'],
        ['crashed', 'debian:13', 'crashed'],
        ['exited', 'alpine:3.20', 'exited (3)'],
      ],
    );
    const names = async (...args: string[]): Promise<string> => (await nephos('ps', '-q', ...args)).stdout;
    assert.equal(await names(), 'booting\n');
    assert.equal(await names('-a', '--filter', 'label=job=2'), 'exited\n');
    assert.equal(await names('-a', '--filter', 'label=extra'), 'exited\n');
    assert.equal(await names('--filter', 'state=crashed'), 'crashed\n');
    assert.equal(await names('-a', '-f', 'name=ed', '-f', 'image=alpine'), 'exited\n');
    const json: unknown = JSON.parse((await nephos('ps', '--format', 'json')).stdout);
    assert.ok(Array.isArray(json));
    assert.deepEqual(json[0].name, booting.record.name);
    assert.deepEqual((await nephos('ps', '--filter', 'x')).code, 2);

    const refused = await nephos('rm', 'booting', 'exited', 'crashed');
    assert.deepEqual([refused.code, refused.stdout], [1, 'exited\ncrashed\n']);
    assert.match(refused.stderr, /^nephos: booting is running/);
    assert.equal(await names('-a'), 'booting\n');
  }));

test('port and inspect show the record', () =>
  inHome(async ({ nephos, create }) => {
    using vm = await create('web');
    const port = { address: '127.0.0.1', hostPort: 8080, guestPort: 80, protocol: 'tcp' } as const;
    vm.update({ ports: [port, { ...port, address: '::1', hostPort: 53, guestPort: 53, protocol: 'udp' }] });
    assert.equal((await nephos('port', 'web')).stdout, '80/tcp -> 127.0.0.1:8080\n53/udp -> [::1]:53\n');
    assert.equal((await nephos('port', 'web', '80')).stdout, '127.0.0.1:8080\n');
    assert.equal((await nephos('port', 'web', '53/udp')).stdout, '[::1]:53\n');
    assert.equal((await nephos('port', 'web', '81')).code, 1);
    assert.equal((await nephos('port', 'web', 'x')).code, 2);
    const shown: unknown = JSON.parse((await nephos('inspect', vm.record.id.slice(0, 6))).stdout);
    assert.ok(Array.isArray(shown));
    assert.equal(shown[0].name, 'web');
    assert.equal(shown[0].state, 'created');
    assert.equal(shown[0].paths.directory, vm.paths.directory);
  }));

test('an unknown name gives the nearest one, and a verb for running VMs the end of another', () =>
  inHome(async ({ nephos, create }) => {
    const vm = await create('web');
    vm.update({ exit: { code: 0 } });
    vm[Symbol.dispose]();
    assert.deepEqual(await nephos('inspect', 'wbe'), {
      code: 1,
      stdout: '',
      stderr: 'nephos: there is no VM "wbe"\ndid you mean web?\n',
    });
    for (const verb of ['pause', 'resume', 'kill', 'exec'])
      assert.match(
        (await nephos(verb, 'web', ...(verb === 'exec' ? ['true'] : []))).stderr,
        /^nephos: the VM web is not running: it exited with code 0\n/,
      );
    assert.equal((await nephos('exec', 'wbe', 'true')).code, 125);
    assert.equal((await nephos('exec', '--zzz', 'web', 'true')).code, 125);
    assert.deepEqual(await nephos('stop', 'web'), { code: 0, stdout: 'web\n', stderr: '' });
    assert.equal((await nephos('rm', '-f', 'web', 'absent')).code, 0);
  }));

test('logs prints the streams apart, the last lines, and times', () =>
  inHome(async ({ nephos, create }) => {
    using vm = await create('web');
    const part = (stream: string, text: string): string =>
      `${JSON.stringify({ time: '2026-01-01T00:00:00.000Z', stream, text })}\n`;
    writeFileSync(
      vm.paths.output,
      part('stdout', 'one\ntw') + part('stderr', 'error\n') + part('stdout', 'o\nthree'),
    );
    assert.deepEqual(await nephos('logs', 'web'), {
      code: 0,
      stdout: 'one\ntwo\nthree',
      stderr: 'error\n',
    });
    assert.deepEqual(await nephos('logs', '--tail', '2', 'web'), {
      code: 0,
      stdout: 'two\nthree',
      stderr: '',
    });
    assert.equal((await nephos('logs', '--tail', '0', 'web')).stdout, '');
    const timed = await nephos('logs', '--timestamps', '-n', '1', 'web');
    assert.equal(timed.stdout, '2026-01-01T00:00:00.000Z three');
    assert.equal((await nephos('logs', '--tail', 'x', 'web')).code, 2);
    writeFileSync(vm.paths.serial, 'Linux version\n');
    assert.equal((await nephos('logs', '--serial', 'web')).stdout, 'Linux version\n');
  }));

test('the program shows help, versions and errors with their exit codes', () =>
  inHome(async ({ nephos }) => {
    assert.match((await nephos()).stdout, /^Usage: nephos VERB/);
    assert.match((await nephos('help', 'run')).stdout, /^Usage: nephos run/);
    assert.match((await nephos('run', '--help')).stdout, /^Usage: nephos run/);
    assert.match((await nephos('--version')).stdout, /^nephos \d/);
    assert.deepEqual(await nephos('pss'), {
      code: 2,
      stdout: '',
      stderr: 'nephos: unknown verb pss\ndid you mean nephos ps?\nFor more information try nephos --help\n',
    });
    assert.equal((await nephos('ps', '--al')).code, 2);
    assert.equal((await nephos('run')).code, 125);
    assert.equal((await nephos('completion', 'tcsh')).code, 2);
    assert.match((await nephos('completion', 'bash')).stdout, /complete -F _nephos nephos/);
  }));
