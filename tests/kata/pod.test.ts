// Kata Containers 4, unchanged, under containerd's CRI: the lifecycle of a pod with several containers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { builtRuntimes } from './support/home.ts';
import { type KataNode, startNode } from './support/node.ts';
import { type Pod, remainsOf, runPod, startContainer, timed } from './support/pods.ts';
import { makeImage } from '../support/images.ts';
import { until } from '../support/wait.ts';

const MIB = 2 ** 20;

/** RAM of the pod's guest in MiB, as a container sees it. */
async function ramOf(node: KataNode, container: string): Promise<number> {
  const text = await node.crictl('exec', container, 'grep', 'MemTotal', '/proc/meminfo');
  return Number(/\d+/.exec(text)?.[0]) / 1024;
}

/** Makes a loop device of an image for as long as it is used. */
function attachLoop(image: string): Disposable & { readonly device: string } {
  const device = execFileSync('losetup', ['-f', '--show', image], { encoding: 'utf8' }).trim();
  return { device, [Symbol.dispose]: () => void execFileSync('losetup', ['-d', device]) };
}

/** Plugs a block device of the host into a pod: a container reads and writes it. */
async function checkVolume(node: KataNode, pod: Pod): Promise<void> {
  const image = join(node.folder, 'volume');
  makeImage(image, 4 * MIB, 'volume of the host');
  using loop = attachLoop(image);
  const devices = [{ host_path: loop.device, container_path: '/dev/volume', permissions: 'rwm' }];
  const container = await startContainer(node, pod, { name: 'three', more: { devices } });
  assert.equal(await node.crictl('exec', container, 'head', '-c', '18', '/dev/volume'), 'volume of the host');
  const write = 'echo of the guest | dd of=/dev/volume bs=512 seek=16 conv=fsync 2>&1';
  await node.crictl('exec', container, 'sh', '-c', write);
  assert.equal(readFileSync(image).toString('latin1', 16 * 512, 16 * 512 + 12), 'of the guest');
  await node.crictl('rm', '-f', container);
  await timed('stop', node.crictl('stopp', pod.id));
}

for (const runtime of builtRuntimes()) {
  test(`${runtime}: a pod with two containers, commands, more RAM and a volume`, async () => {
    await using node = await startNode({ runtime });
    const pod = await runPod(node);
    const limit = { linux: { resources: { memory_limit_in_bytes: 256 * MIB } } };
    const one = await startContainer(node, pod, { name: 'one', more: limit });
    const two = await startContainer(node, pod, { name: 'two' });
    for (const name of ['one', 'two']) {
      await until(`${name} has written`, () =>
        readFileSync(join(node.folder, `${name}.log`), 'utf8').includes(`this is ${name}`),
      );
    }

    assert.equal(await timed('exec', node.crictl('exec', one, 'hostname')), 'pod');
    assert.match(
      await node.crictl('exec', two, 'ping', '-c', '1', '-W', '20', '10.231.0.1'),
      /1 packets received/,
    );
    await node.crictl('exec', one, 'sh', '-c', 'echo written >/tmp/file');
    assert.equal(await node.crictl('exec', one, 'cat', '/tmp/file'), 'written');

    const before = await ramOf(node, one);
    assert.ok(before > 600, `the limit of the container is added to the pod's 512 MiB: ${before} MiB`);
    await timed('update', node.crictl('update', '--memory', String(512 * MIB), one));
    await until('the guest has more RAM', async () => (await ramOf(node, one)) > before + 200);

    const cpu = { linux: { resources: { cpu_period: 100_000, cpu_quota: 100_000 } } };
    const busy = await startContainer(node, pod, { name: 'busy', more: cpu });
    assert.equal(await node.crictl('exec', busy, 'nproc'), '2', 'a vCPU is added for the limit');

    await checkVolume(node, pod);
    await node.crictl('rmp', pod.id);
    assert.deepEqual(remainsOf(pod.id), []);
  });

  test(`${runtime}: a pod sized at its start has the vCPUs and RAM of its limits`, async () => {
    await using node = await startNode({ runtime, sizedAtStart: true });
    const limits = { cpu_period: 100_000, cpu_quota: 100_000, memory_limit_in_bytes: 256 * MIB };
    const pod = await runPod(node, { resources: limits });
    const one = await startContainer(node, pod, { name: 'one', more: { linux: { resources: limits } } });
    assert.equal(await node.crictl('exec', one, 'nproc'), '2', 'one of Kata’s, one of the limit');
    const ram = await ramOf(node, one);
    assert.ok(ram > 600, `the limit is added to the pod's 512 MiB: ${ram} MiB`);
    await node.crictl('rmp', '-f', pod.id);
  });
}
