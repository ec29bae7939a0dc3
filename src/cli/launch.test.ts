import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';

const folder = mkdtempSync(join(tmpdir(), "launch, 'q "));
after(() => rmSync(folder, { recursive: true }));

const PROGRAMS = ['cloud-hypervisor', 'ch-remote', 'nephos'];

/** Prints the variable of the certificates at the start of Node, and at its exit. */
const HOOK = `const print = () => process._rawDebug('certificates ' + process.env.NODE_EXTRA_CA_CERTS);
print();
process.once('exit', print);`;

for (const program of PROGRAMS) {
  test(`${program} keeps Node from parsing certificates, and keeps the variable`, () => {
    const hook = join(folder, 'hook.cjs').replaceAll(/[\s"]/g, '\\$&');
    writeFileSync(join(folder, 'hook.cjs'), HOOK);
    const env = { ...process.env, NODE_OPTIONS: `--require "${hook}"`, NODE_EXTRA_CA_CERTS: '/a "b"/c' };
    const { stdout, stderr } = spawnSync(`bin/${program}`, ['--version'], { env, encoding: 'utf8' });
    assert.match(stdout, /\d/);
    assert.deepEqual(stderr.match(/^certificates.*$/gm), ['certificates undefined', 'certificates /a "b"/c']);
  });

  test(`${program} starts by a link, and passes its words unchanged`, () => {
    const link = join(folder, program);
    symlinkSync(resolve('bin', program), link);
    const { status, stderr } = spawnSync(link, ['--no such, "flag" $HOME'], { encoding: 'utf8' });
    assert.ok(status !== 0 && status !== null);
    assert.ok(stderr.includes('--no such, "flag" $HOME'), stderr);
  });
}

test('a program without Node on the PATH says that node is missing', () => {
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  const { status, stderr } = spawnSync('bin/nephos', ['--version'], {
    env: { PATH: empty },
    encoding: 'utf8',
  });
  assert.equal(status, 127);
  assert.match(stderr, /node: not found/);
});
