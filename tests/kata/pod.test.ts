// Kata Containers 4 as it is, under containerd's CRI: the life of a pod with several containers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/until.ts';
import { IMAGE, startNode, type KataNode } from './support/node.ts';

const MIB = 2 ** 20;

/** Prints how long a step took: the suite's log has the times. */
async function timed<T>(name: string, work: Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work;
  console.log(`${name}: ${Math.round(performance.now() - started)} ms`);
  return result;
}

/** Writes a CRI request into a file and returns its path. */
function requestFile(node: KataNode, name: string, request: object): string {
  const path = join(node.folder, `${name}.json`);
  writeFileSync(path, JSON.stringify(request));
  return path;
}

interface Pod {
  readonly id: string;
  readonly request: string;
}

async function runPod(node: KataNode, resources = {}): Promise<Pod> {
  const request = requestFile(node, 'pod', {
    metadata: { name: 'pod', namespace: 'default', uid: 'pod', attempt: 0 },
    hostname: 'pod',
    log_directory: node.folder,
    linux: { resources },
  });
  return { id: await timed('pod', node.crictl('runp', '-r', 'kata', request)), request };
}

async function startContainer(node: KataNode, pod: Pod, name: string, more: object): Promise<string> {
  const request = requestFile(node, name, {
    metadata: { name },
    image: { image: IMAGE },
    command: ['/bin/sh', '-c', `echo this is ${name}; exec sleep 86400`],
    log_path: `${name}.log`,
    linux: {},
    ...more,
  });
  const id = await node.crictl('create', pod.id, request, pod.request);
  await timed(`container ${name}`, node.crictl('start', id));
  return id;
}

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

test('a pod with two containers starts, runs commands, gets RAM and a disk, and stops', async () => {
  await using node = await startNode();
  const pod = await runPod(node);
  const limit = { linux: { resources: { memory_limit_in_bytes: 256 * MIB } } };
  const one = await startContainer(node, pod, 'one', limit);
  const two = await startContainer(node, pod, 'two', {});
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
  const busy = await startContainer(node, pod, 'busy', cpu);
  assert.equal(await node.crictl('exec', busy, 'nproc'), '2', 'a vCPU is added for the limit');

  const image = join(node.folder, 'volume');
  writeFileSync(image, 'volume of the host');
  truncateSync(image, 4 * MIB);
  {
    using loop = attachLoop(image);
    const devices = [{ host_path: loop.device, container_path: '/dev/volume', permissions: 'rwm' }];
    const three = await startContainer(node, pod, 'three', { devices });
    assert.equal(await node.crictl('exec', three, 'head', '-c', '18', '/dev/volume'), 'volume of the host');
    const write = 'echo of the guest | dd of=/dev/volume bs=512 seek=16 conv=fsync 2>&1';
    await node.crictl('exec', three, 'sh', '-c', write);
    assert.equal(readFileSync(image).toString('latin1', 16 * 512, 16 * 512 + 12), 'of the guest');
    await node.crictl('rm', '-f', three);
    await timed('stop', node.crictl('stopp', pod.id));
  }
  await node.crictl('rmp', pod.id);
  assert.equal(existsSync(`/run/vc/vm/${pod.id}`), false);
  assert.throws(() => execFileSync('pgrep', ['-f', pod.id]), 'nothing of the pod runs any longer');
});

test('a pod that is sized at its start has the vCPUs and the RAM of its containers’ limits', async () => {
  await using node = await startNode({ sizedAtStart: true });
  const limits = { cpu_period: 100_000, cpu_quota: 100_000, memory_limit_in_bytes: 256 * MIB };
  const pod = await runPod(node, limits);
  const one = await startContainer(node, pod, 'one', { linux: { resources: limits } });
  assert.equal(await node.crictl('exec', one, 'nproc'), '2', 'one of Kata’s, one of the limit');
  const ram = await ramOf(node, one);
  assert.ok(ram > 600, `the limit is added to the pod's 512 MiB: ${ram} MiB`);
  await node.crictl('rmp', '-f', pod.id);
});
