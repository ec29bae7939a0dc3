// VMs with back-ends of the VMM in a restore: beside QEMU by hand without one, and the speed of both ways to the guest's memory.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseSnapshotState } from '../src/vm/snapshot/snapshot-state.ts';
import { createCleanupStack } from '../src/util/cleanup-stack.ts';
import { assertStatus } from '../tests/support/answers.ts';
import { createAndBoot } from '../tests/support/boot.ts';
import { guestConfig } from '../tests/support/guest.ts';
import { qemuOf } from '../tests/support/processes.ts';
import { openShell } from '../tests/support/shell.ts';
import { editConfig, takeSnapshot } from '../tests/support/snapshots.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import { startVmm, type TestVmm } from '../tests/support/vmm.ts';
import { putProgram } from '../tests/support/vsock.ts';
import { compareAccess } from './backend-access.ts';
import { startByHand, wordsOf } from './by-hand.ts';
import { FILE_MIB, PROGRAM as FS_PROGRAM } from './fs-works.ts';
import { makeTree } from './fs-tree.ts';
import { quantile } from './io-guests.ts';
import { inMs, printRow } from './table.ts';
import { PROGRAM as VSOCK_PROGRAM } from './vsock-traffic.ts';

const MIB = 2 ** 20;
const TOUCHED_MIB = 64;

/** Files of the tree that the works of the guest read. */
const TREE_FILES = 2000;

/** Kinds of snapshots of guests that differ in their back-ends. */
type Kind = 'none' | 'vsock' | 'virtio-fs' | 'vsock, copied';

/** A row of the table. */
interface Row {
  readonly kind: Kind;
  /** the VMM has a spare thread */
  readonly spare?: boolean;
  readonly must: string;
}

const ROWS: readonly Row[] = [
  { kind: 'none', must: '<= 1.25' },
  { kind: 'none', spare: true, must: '<= 1.25' },
  { kind: 'vsock', must: '<= 1.50' },
  { kind: 'vsock', spare: true, must: '<= 1.50' },
  { kind: 'virtio-fs', must: '<= 1.50' },
  { kind: 'virtio-fs', spare: true, must: '<= 1.50' },
  { kind: 'vsock, copied', must: '' },
];

function nameOf({ kind, spare = false }: Row): string {
  return spare ? `${kind}, spare thread` : kind;
}

/** `npm run bench -- snapshot-backends [rounds [rounds of the works]]` */
export async function benchSnapshotBackends([rounds = '9', works = '5']: readonly string[]): Promise<void> {
  const home = mkdtempSync(join(process.cwd(), 'build', 'bench-backends-'));
  const shared = mkdtempSync('/dev/shm/nephos-bench-');
  try {
    for (const side of ['ours', 'theirs']) fill(join(shared, side));
    await using stack = createCleanupStack();
    const vmm = stack.use(await startVmm());
    const folders = await makeSnapshots(vmm, { home, directory: join(shared, 'ours') });
    const spare = stack.use(await startVmm({ args: ['--spare-thread'] }));
    await compareRestores({ vmm, spare }, { home, folders }, Number(rounds));
    if (Number(works) === 0) return;
    const other = stack.use(await startVmm());
    await compareAccess({ vmms: [vmm, other], folder: folders.both, shared }, Number(works));
  } finally {
    rmSync(home, { recursive: true, force: true });
    rmSync(shared, { recursive: true, force: true });
  }
}

function fill(directory: string): void {
  mkdirSync(directory);
  writeFileSync(join(directory, 'file'), Buffer.alloc(FILE_MIB * MIB, 1));
  makeTree(join(directory, 'tree'), TREE_FILES);
}

type Folders = Readonly<Record<Kind | 'both', string>>;

async function makeSnapshots(
  vmm: TestVmm,
  { home, directory }: { readonly home: string; readonly directory: string },
): Promise<Folders> {
  const vsock = { cid: 3, socket: join(vmm.folder, 'vsock') };
  const fs = [{ tag: 'ours', directory, id: 'ours' }];
  const folders = {
    none: await snapshotOf(vmm, join(home, 'none'), {}),
    vsock: await snapshotOf(vmm, join(home, 'vsock'), { vsock }),
    'virtio-fs': await snapshotOf(vmm, join(home, 'fs'), { fs }),
    both: await snapshotOf(vmm, join(home, 'both'), { vsock, fs }),
    'vsock, copied': join(home, 'copied'),
  };
  cpSync(folders.vsock, folders['vsock, copied'], { recursive: true });
  editConfig(folders['vsock, copied'], (config) => ({
    ...config,
    memory: { ...config.memory, shared: true },
  }));
  return folders;
}

/** Writes a snapshot of a guest that has touched RAM. */
async function snapshotOf(vmm: TestVmm, folder: string, more: object): Promise<string> {
  await createAndBoot(vmm, guestConfig({ memory: { size: 512 * MIB }, ...more }, { tools: true }));
  using shell = openShell(await ptyOf(vmm));
  await shell.login();
  if ('fs' in more) await shell.run('mkdir -p /mnt/ours; mount -t virtiofs ours /mnt/ours');
  await shell.run(`mkdir /m; mount -t tmpfs m /m; head -c ${TOUCHED_MIB * MIB} /dev/urandom > /m/1`);
  await putProgram(shell, 'fs', FS_PROGRAM);
  await putProgram(shell, 'traffic', VSOCK_PROGRAM);
  await takeSnapshot(vmm, folder);
  assertStatus(await vmm.put('vm.delete'), 204);
  return folder;
}

/** VMMs of the restores. */
interface Vmms {
  readonly vmm: TestVmm;
  /** one with a spare thread */
  readonly spare: TestVmm;
}

/** Time in which the memory of an ended QEMU is returned to the host, and a spare thread starts, in milliseconds. */
const QUIET_MS = 200;

async function compareRestores(
  { vmm, spare }: Vmms,
  { home, folders }: { readonly home: string; readonly folders: Folders },
  rounds: number,
): Promise<void> {
  const words = await wordsOfRestore(vmm, folders.none);
  const state = join(home, 'state');
  const { size } = statSync(join(folders.none, 'memory-ranges'));
  const { deviceState } = parseSnapshotState(readFileSync(join(folders.none, 'state.json')), size);
  writeFileSync(state, deviceState());
  const times = new Map<string, number[]>();
  const note = (name: string, start: number): void => {
    times.set(name, [...(times.get(name) ?? []), performance.now() - start]);
  };
  for (let round = 0; round < rounds; round++) {
    {
      const start = performance.now();
      await using qemu = await startByHand(words);
      await qemu.load(`file:${state}`);
      await qemu.qmp.execute('cont');
      // without the exit of QEMU, as below
      note('by hand', start);
    }
    for (const row of ROWS) {
      await delay(QUIET_MS);
      const one = row.spare ? spare : vmm;
      const start = performance.now();
      assertStatus(await one.put('vm.restore', bodyOf(folders[row.kind])), 204);
      note(nameOf(row), start);
      assertStatus(await one.put('vm.delete'), 204);
    }
    await delay(QUIET_MS);
  }
  const reference = quantile(times.get('by hand') ?? [], 0.5);
  for (const row of ROWS) {
    const ours = quantile(times.get(nameOf(row)) ?? [], 0.5);
    printRow({
      what: `restore of 512 MiB, back-end: ${nameOf(row)}`,
      ours: inMs(ours),
      reference: ['by hand, none', inMs(reference)],
      ratio: ours / reference,
      must: row.must,
    });
  }
}

function bodyOf(folder: string): object {
  return { source_url: `file://${folder}`, resume: true };
}

/** Returns QEMU's arguments in a restore. */
async function wordsOfRestore(vmm: TestVmm, folder: string): Promise<string[]> {
  assertStatus(await vmm.put('vm.restore', bodyOf(folder)), 204);
  const words = wordsOf(qemuOf(vmm.pid));
  assertStatus(await vmm.put('vm.delete'), 204);
  return words;
}
