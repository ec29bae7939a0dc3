// Shared directories: Nephos beside virtiofsd, two mounts of one VM, in turns. Both directories are in RAM (tmpfs).
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCleanupStack, type CleanupStack } from '../src/util/cleanup-stack.ts';
import { startVirtiofsd } from '../tests/support/backends.ts';
import { guestConfig } from '../tests/support/guest.ts';
import { openShell, type Shell } from '../tests/support/shell.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import { startVmm } from '../tests/support/vmm.ts';
import { putProgram } from '../tests/support/vsock.ts';
import { makeTree } from './fs-tree.ts';
import { measureVmm, type Mounts } from './fs-vmm.ts';
import { FILE_MIB, PROGRAM, TREE_FILES, WORKS, WRITEBACK, type Work } from './fs-works.ts';
import { quantile } from './io-guests.ts';
import { printRow } from './table.ts';

const MIB = 2 ** 20;

/** Rounds before the measurement: QEMU translates the guest's code, and V8 that of the VMM, on first use. */
const WARM_UP = 1;

/** Limit of one measurement, on a busy machine. */
const TIMEOUT_MS = 240_000;

/** Server of the first mount. `null` compares virtiofsd with virtiofsd, which shows the deviation by chance. */
const SERVERS = ['nephos', 'null'] as const;
type Server = (typeof SERVERS)[number];

/** `npm run bench -- fs [rounds] [null]` */
export async function benchFs([rounds = '6', words = 'nephos']: readonly string[]): Promise<void> {
  const server = SERVERS.find((name) => name === words);
  if (server === undefined) throw new Error(`fs has ${SERVERS.join(', ')}, not "${words}"`);
  const folder = mkdtempSync('/dev/shm/nephos-bench-');
  try {
    for (const side of ['ours', 'theirs', 'cached']) fill(join(folder, side));
    await using stack = createCleanupStack();
    const vmm = stack.use(await startVmm());
    const config = guestConfig(
      { memory: { size: 1024 * MIB, shared: true }, fs: shares(server, folder, stack.use) },
      { tools: true },
    );
    for (const [route, body] of [['vm.create', config], ['vm.boot']] as const) {
      const { status, json } = await vmm.put(route, body);
      if (status !== 204) throw new Error(`${route}: ${JSON.stringify(json)}`);
    }
    using shell = openShell(await ptyOf(vmm));
    await shell.login();
    await compareMounts({ vmm, shell, folder }, Number(rounds));
    if (server === 'nephos') await measureVmm({ vmm, shell, folder });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Makes the file for reads and writes, and the tree for `find`. */
function fill(directory: string): void {
  mkdirSync(directory);
  writeFileSync(join(directory, 'file'), Buffer.alloc(FILE_MIB * MIB, 1));
  makeTree(join(directory, 'tree'), TREE_FILES);
}

function shares(server: Server, folder: string, use: CleanupStack['use']): object[] {
  const external = (tag: string, side: string, ...words: readonly string[]): object => {
    const socket = join(folder, `${tag}.sock`);
    use(startVirtiofsd(socket, join(folder, side), ...words));
    return { tag, socket };
  };
  const own = (tag: string, more: object = {}): object => ({ tag, directory: join(folder, tag), ...more });
  // opens inodes by file handles where it would run out of file descriptors
  const many = '--inode-file-handles=mandatory';
  return [
    server === 'null' ? external('ours', 'ours', many) : own('ours'),
    server === 'null'
      ? external('cached', 'cached', '--cache=always', '--writeback')
      : own('cached', { cache: 'always' }),
    external('theirs', 'theirs'),
    external('many', 'theirs', many),
  ];
}

const TAGS = ['ours', 'cached', 'theirs', 'many'] as const;
type Tag = (typeof TAGS)[number];

async function compareMounts({ shell }: Mounts, rounds: number): Promise<void> {
  for (const tag of TAGS) await shell.run(`mkdir -p /mnt/${tag}; mount -t virtiofs ${tag} /mnt/${tag}`);
  const program = await putProgram(shell, 'fs', PROGRAM);
  const measure = async (tag: Tag, { run, strictLimit = 1 }: Work): Promise<number> => {
    await setStrictLimit(shell, `/mnt/${tag}`, strictLimit);
    const shown = await shell.run(`perl ${program} /mnt/${tag} ${run} 2>&1`, TIMEOUT_MS);
    if (!/^[\d.]+$/.test(shown)) throw new Error(`${tag}: ${run}: ${shown.slice(0, 400)}`);
    return Number(shown);
  };
  const figures = [...WORKS, ...WRITEBACK].map((work) => ({
    work,
    ours: [] as number[],
    theirs: [] as number[],
  }));
  for (let round = -WARM_UP; round < rounds; round++) {
    for (const { work, ours, theirs } of figures) {
      const sides = [
        { tag: WRITEBACK.includes(work) ? 'cached' : 'ours', into: ours },
        { tag: work.hasManyInodes === true ? 'many' : 'theirs', into: theirs },
      ] as const;
      for (const { tag, into } of round % 2 === 0 ? sides : sides.toReversed()) {
        const figure = await measure(tag, work);
        if (round >= 0) into.push(figure);
      }
    }
  }
  for (const { work, ours, theirs } of figures) report(work, ours, theirs);
}

/** Sets whether Linux throttles writers to a mount by its own share of the dirty pages. */
async function setStrictLimit(shell: Shell, mount: string, strictLimit: 0 | 1): Promise<void> {
  const device = await shell.run(`awk '$5 == "${mount}" { print $3 }' /proc/self/mountinfo`);
  const file = `/sys/class/bdi/${device}/strict_limit`;
  const shown = await shell.run(`echo ${strictLimit} > ${file} && cat ${file}`);
  if (shown !== String(strictLimit)) throw new Error(`${file}: ${shown}`);
}

/** Prints both medians, the median of the ratios, and the range of their middle half. */
function report({ name, must, digits = 0 }: Work, ours: readonly number[], theirs: readonly number[]): void {
  const ratios = ours.map((one, i) => one / (theirs[i] ?? Number.NaN));
  const [low, high] = [0.25, 0.75].map((part) => quantile(ratios, part).toFixed(2));
  printRow({
    what: `fs: ${name}`,
    ours: quantile(ours, 0.5).toFixed(digits),
    reference: ['virtiofsd', quantile(theirs, 0.5).toFixed(digits)],
    ratio: quantile(ratios, 0.5),
    must: `>= ${must.toFixed(2)}`,
    note: `half of the rounds ${low} to ${high}`,
  });
}
