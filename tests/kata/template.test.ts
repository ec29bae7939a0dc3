// Kata Containers 4, unchanged: a VM template, and pods that are clones of it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type KataNode, startNode } from './support/node.ts';
import { makeImage } from '../support/images.ts';

const CLONES = 5;

/** Requests to each clone: the agents have the same addresses, each on a socket of its own. */
const ROUNDS = 4;

const MIB = 2 ** 20;

/** Makes a mounted file system with the image's files: without a shared folder Kata plugs a container's root as a disk. */
function mountRoot(node: KataNode, name: string): string {
  const [image, folder] = [join(node.folder, `${name}.img`), join(node.folder, name)];
  makeImage(image, 16 * MIB);
  execFileSync('mkfs.ext4', ['-q', '-F', '-d', node.rootfs, image]);
  mkdirSync(folder);
  execFileSync('mount', ['-o', 'loop', image, folder]);
  return folder;
}

const VMS = '/run/vc/vm';
const SHARED = '/run/kata-containers/shared/sandboxes';

/** Kata 4.1 makes no folder `shared` for a VM of a template whose guest shares none, and needs one. */
function makeSharedFolders(): Disposable {
  const timer = setInterval(() => {
    for (const name of readdirSync(VMS)) {
      if (/^[\da-f]{8}-/.test(name)) mkdirSync(join(VMS, name, 'shared'), { recursive: true });
    }
  }, 20);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

test('a template is made, and five VMs are cloned from it', async () => {
  const template = join(VMS, 'nephos-template');
  await using node = await startNode({ template });
  const started = performance.now();
  await node.kataRuntime('factory', 'init');
  console.log(`factory init: ${Math.round(performance.now() - started)} ms`);
  const clones = Array.from({ length: CLONES }, (_, i) => `nephos-clone-${process.pid}-${i}`);
  try {
    assert.equal(statSync(join(template, 'memory-ranges')).size, 0);
    using _folders = makeSharedFolders();
    for (const name of clones) {
      const root = mountRoot(node, name);
      const begun = performance.now();
      const kata = ['--runtime', 'io.containerd.kata.v2', '--runtime-config-path', node.kataConfig];
      await node.ctr('run', '-d', ...kata, '--rootfs', root, name, '/bin/sleep', '86400');
      console.log(`${name}: ${Math.round(performance.now() - begun)} ms`);
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of clones) {
        const command = ['/bin/sh', '-c', `echo ${name} >>/name; /bin/tail -n 1 /name; /bin/grep -c . /name`];
        const said = await node.ctr('task', 'exec', '--exec-id', `e${round}`, name, ...command);
        assert.equal(said, `${name}\n${round + 1}`);
      }
    }
  } finally {
    for (const name of clones) {
      await node.ctr('task', 'rm', '-f', name).catch(String);
      await node.ctr('container', 'rm', name).catch(String);
      // links that Kata leaves behind
      rmSync(join(VMS, name), { force: true });
      rmSync(join(SHARED, name), { recursive: true, force: true });
    }
    await node.kataRuntime('factory', 'destroy');
  }
  for (const name of clones) assert.throws(() => execFileSync('pgrep', ['-f', `shim-kata.*${name}`]));
});
