// Kata's VM templates: RAM in the file of a shared memory zone, clones from copies of config.json and state.json alone.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus, messagesOf } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { INITRAMFS, INITRAMFS_WITH_TOOLS, KERNEL } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { qemuOf } from './support/processes.ts';
import { openShell } from './support/shell.ts';
import { restore, takeSnapshot } from './support/snapshots.ts';
import { ptyOf, stateOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { startEcho } from './support/vsock.ts';
import { until, within } from './support/wait.ts';

const MIB = 2 ** 20;
const RAM = 256 * MIB;

/** Space of Kata's tmpfs for a template beside the RAM. */
const STATE_BYTES = 8 * MIB;

interface Config {
  readonly memory: { readonly zones: readonly object[] };
  readonly vsock?: object;
}

/** Makes a folder with a file for the RAM, as Kata's `factory init` does on a tmpfs of its own. */
function makeTemplate(folder: string): { readonly path: string; readonly memory: string } {
  const path = join(folder, 'template, "é"');
  mkdirSync(path);
  const memory = join(path, 'memory');
  makeImage(memory, RAM);
  return { path, memory };
}

/** vm.create of a template: the zone's RAM is the file. */
function templateConfig(memory: string, more: object, initramfs = INITRAMFS): Record<string, unknown> {
  return {
    kernel: undefined,
    initramfs: undefined,
    cmdline: undefined,
    payload: { kernel: KERNEL, cmdline: 'console=ttyS0', initramfs },
    platform: { num_pci_segments: 2 },
    memory: { size: 0, shared: true, zones: [{ id: 'mem0', size: RAM, file: memory, shared: true }] },
    ...more,
  };
}

/** Pauses a VM and takes a snapshot within Kata's deadlines. */
async function save(vmm: TestVmm, path: string): Promise<void> {
  await within(1000, 'vm.pause', async () => assertStatus(await vmm.put('vm.pause'), 204));
  const started = performance.now();
  const destination_url = `file://${path}`;
  await within(1000, 'vm.snapshot', async () =>
    assertStatus(await vmm.put('vm.snapshot', { destination_url }), 204),
  );
  console.log(`vm.snapshot took ${Math.round(performance.now() - started)} ms`);
  assert.equal(statSync(join(path, 'memory-ranges')).size, 0, 'the RAM is in the file already');
  const sizes = readdirSync(path).map((name) => (name === 'memory' ? 0 : statSync(join(path, name)).size));
  assert.ok(sizes.reduce((sum, size) => sum + size, 0) < STATE_BYTES, String(sizes));
}

/** Copies the files of a template that Kata copies; the clone has private RAM and a socket of its own. */
function copyTemplate(path: string, to: string, socket?: string): void {
  mkdirSync(to);
  copyFileSync(join(path, 'state.json'), join(to, 'state.json'));
  const config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Config;
  const zones = config.memory.zones.map((zone) => ({ ...zone, shared: false }));
  const vsock = socket === undefined ? config.vsock : { ...config.vsock, socket };
  const edited = { ...config, memory: { ...config.memory, shared: false, zones }, vsock };
  writeFileSync(join(to, 'config.json'), JSON.stringify(edited));
}

function hashOf(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** Returns the agent's answer to a message over the vsock. */
async function echo(socket: string, word: string): Promise<string> {
  const agent = connect(socket);
  try {
    await once(agent, 'connect');
    agent.write('CONNECT 1024\n');
    let text = '';
    agent.setEncoding('utf8').on('data', (part: string) => (text += part));
    await until('the agent is connected', () => text.includes('\n'));
    agent.write(`${word}\n`);
    await until(
      'the agent answers',
      () => text.includes(word),
      () => text,
    );
    return text;
  } finally {
    agent.destroy();
  }
}

test('Kata template with a vsock: clones have RAM and a socket of their own', async () => {
  const folder = makeFolder();
  try {
    const { path, memory } = makeTemplate(folder);
    const socket = join(folder, 'template.sock');
    {
      await using vmm = await startVmm();
      const config = templateConfig(memory, { vsock: { cid: 3, socket } }, INITRAMFS_WITH_TOOLS);
      using shell = await boot(vmm, config);
      await startEcho(shell, 1024);
      await save(vmm, path);
      assertStatus(await vmm.put('vmm.shutdown'), 204);
    }
    const before = hashOf(memory);
    for (const name of ['one', 'two']) {
      const own = join(folder, `${name}.sock`);
      copyTemplate(path, join(folder, name), own);
      await using clone = await startVmm();
      const source_url = `file://${join(folder, name)}`;
      assertStatus(await clone.put('vm.restore', { source_url }), 204);
      assert.equal(await stateOf(clone), 'Paused');
      assertStatus(await clone.put('vm.resume'), 204);
      assert.match(await echo(own, `hello ${name}`), /^OK \d+\n/);
      using shell = openShell(await ptyOf(clone));
      assert.equal(await shell.run('ls -d /tmp/one /tmp/two 2>/dev/null'), '');
      await shell.run(`head -c 20000000 /dev/urandom >/tmp/${name}`);
    }
    assert.equal(hashOf(memory), before, 'clones leave the template’s RAM as it is');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('Kata template without a vsock: clones map its RAM', async () => {
  const folder = makeFolder();
  try {
    const { path, memory } = makeTemplate(folder);
    {
      await using vmm = await startVmm();
      using shell = await boot(vmm, templateConfig(memory, {}));
      await shell.run('echo of the template >/tmp/word');
      await save(vmm, path);
      assertStatus(await vmm.put('vmm.shutdown'), 204);
    }
    const before = hashOf(memory);
    const [copy, second] = [join(folder, 'copy'), join(folder, 'second')];
    copyTemplate(path, copy);
    await using clone = await startVmm();
    assertStatus(await clone.put('vm.restore', { source_url: `file://${copy}`, resume: true }), 204);
    assert.match(readFileSync(`/proc/${qemuOf(clone.pid)}/maps`, 'latin1'), /rw-p .*\/memory$/m);
    using shell = openShell(await ptyOf(clone));
    assert.equal(await shell.run('cat /tmp/word; echo of the clone >/tmp/word'), 'of the template');

    // a snapshot of the clone has all of its RAM
    await takeSnapshot(clone, second);
    assertStatus(await clone.put('vm.delete'), 204);
    assert.equal(hashOf(memory), before);
    using again = await restore(clone, second);
    assert.equal(await again.run('cat /tmp/word'), 'of the clone');
    assertStatus(await clone.put('vm.delete'), 204);

    for (const [edit, reason] of [
      [() => truncateSync(memory, MIB), `memory zone mem0: ${memory}: has ${MIB} bytes`],
      [() => rmSync(memory), `memory zone mem0: ${memory}: no such file`],
      [() => truncateSync(join(copy, 'state.json'), 100_000), 'state.json: is not what was written'],
      [() => writeFileSync(join(copy, 'state.json'), '{}'), 'there is no manifest'],
    ] as const) {
      edit();
      const answer = await clone.put('vm.restore', { source_url: `file://${copy}` });
      assertStatus(answer, 500);
      assert.ok(messagesOf(answer).join('\n').includes(reason), JSON.stringify(answer.json));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
