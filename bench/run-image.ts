// `nephos run` of a small OCI image: warm, cold, further commands, forks; of a Debian 13 disk image: warm. Beside a bare restore and the demo
// guest's boot.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startVmm } from '../src/sdk/vmm-process.ts';
import { defaultParts } from '../src/run/owner/parts.ts';
import { run } from '../src/run/image-vm.ts';
import { startRun } from '../src/run/owner/run-vm.ts';
import type { RunRequest } from '../src/run/run-request.ts';
import { debianDisk } from '../tests/support/debian.ts';
import { INITRAMFS, KERNEL } from '../tests/support/guest.ts';
import { makeOciImage } from '../tests/support/oci-image.ts';
import { makeRunHome, type RunHome } from '../tests/support/run-home.ts';
import { inMs, printRow } from './table.ts';

/** Clones of one VM. */
const FORKS = 10;

/** Most commands on an open connection that are measured. */
const COMMANDS = 20;

/** Interval of questions for the pool's VM, and time after its start, in milliseconds. */
const [POLL_MS, QUIET_MS] = [200, 300];

/** Time limit of a boot, in milliseconds. */
const BOOT_MS = 300_000;

/** `npm run bench -- run [rounds]` */
export async function benchRun([rounds = '10']: readonly string[]): Promise<void> {
  using home = makeRunHome();
  Object.assign(process.env, home.env);
  const image = makeOciImage(join(home.folder, 'image'));
  // unpacks the image and takes the snapshot
  timeRun(home, image, []);
  timeRun(home, image, ['--cold']);
  const [entry = ''] = home.warmEntries();
  const disk = debianDisk();
  // boots it, and takes the snapshot
  timeDiskRun(home, disk);
  const volume = ['-v', `${home.folder}:/data`];
  // takes the snapshot of a guest with a shared directory
  timeRun(home, image, volume);
  // this process has another version than the bundle, and so a snapshot of its own
  await timeParts(image, () => undefined);
  await using _pool = await startPool(home, image);
  const times = new Map<string, number[]>();
  const add = (name: string, ms: number): void => void times.set(name, [...(times.get(name) ?? []), ms]);
  for (let round = 1; round <= Number(rounds); round++) {
    process.stderr.write(`round ${round} of ${rounds}\r`);
    add('node', timeOf(process.execPath, ['-e', '0'], home));
    add('warm', timeRun(home, image, ['--name', `warm${round}`]));
    add('volume', timeRun(home, image, [...volume, '--name', `volume${round}`]));
    await untilReady(home);
    add('pool', timeRun(home, image, []));
    await untilReady(home);
    add('disk', timeDiskRun(home, disk));
    await timeRestore(home, entry, add);
    await timeParts(image, add);
  }
  for (let round = 1; round <= Math.ceil(Number(rounds) / 3); round++) {
    add('forks', await timeForks(image));
    add('cold', timeRun(home, image, ['--cold']));
    add('demo', await timeDemo());
  }
  report(times);
}

/** Starts a pool with one VM. */
async function startPool({ nephos }: RunHome, image: string): Promise<AsyncDisposable> {
  const { code, stderr } = await nephos('pool', 'start', '--memory', '256M', image);
  if (code !== 0) throw new Error(`nephos pool start: ${stderr}`);
  return { [Symbol.asyncDispose]: async () => void (await nephos('pool', 'stop')) };
}

/** Waits until the VM of the pool is ready, and the machine is quiet again. */
async function untilReady({ nephos }: RunHome): Promise<void> {
  while (!(await nephos('pool', 'ls')).stdout.includes(' 1/1 ')) await delay(POLL_MS);
  await delay(QUIET_MS);
}

/** Runs `true` in an image. @returns the time from exec to exit */
function timeRun({ env }: RunHome, image: string, options: readonly string[]): number {
  const words = ['run', '--rm', '--memory', '256M', ...options, image, '--', 'true'];
  return timeOf('bin/nephos', words, { env });
}

/** Runs `true` in a disk image, whose VM has the default shape. @returns the time from exec to exit */
function timeDiskRun({ env }: RunHome, image: string): number {
  return timeOf('bin/nephos', ['run', '--rm', image, '--', 'true'], { env });
}

function timeOf(program: string, words: readonly string[], { env }: Pick<RunHome, 'env'>): number {
  const start = performance.now();
  const { status, stderr } = spawnSync(program, words, { env, encoding: 'utf8', timeout: BOOT_MS });
  if (status !== 0) throw new Error(`${words.join(' ')}: exit code ${status}: ${stderr}`);
  return performance.now() - start;
}

type Add = (name: string, ms: number) => void;

/** Times the first restore of a VMM that runs already, from the request to Running, with the snapshot of the warm start. */
async function timeRestore(home: RunHome, entry: string, add: Add): Promise<void> {
  const snapshot = join(home.env['NEPHOS_CACHE'] ?? '', 'warm', entry, 'snapshot');
  const began = performance.now();
  await using vmm = await startVmm();
  add('vmm', performance.now() - began);
  const overrides = {
    serial: { file: join(home.folder, 'serial') },
    console: { socket: join(home.folder, 'console') },
  };
  const start = performance.now();
  await vmm.client.call('vm.restore', { source_url: `file://${snapshot}`, resume: true, overrides });
  add('restore', performance.now() - start);
}

/** Request of a run as the command line makes it. */
function requestOf(image: string): RunRequest {
  return {
    image,
    command: ['true'],
    isInteractive: false,
    hasTerminal: false,
    isDetached: false,
    removes: true,
    env: {},
    volumes: [],
    ports: [],
    cpus: 1,
    memory: 2 ** 28,
    network: 'user',
    labels: {},
    pull: 'missing',
    isCold: false,
  };
}

/** Times the parts of a warm run in this process, whose modules are loaded, and further commands. */
async function timeParts(image: string, add: Add): Promise<void> {
  const start = performance.now();
  const running = await startRun(requestOf(image), defaultParts(), {
    signal: AbortSignal.timeout(BOOT_MS),
  });
  try {
    const ready = performance.now();
    const { exitCode } = await running.guest.exec(['true']);
    if (exitCode !== 0) throw new Error(`true: exit code ${exitCode}`);
    const done = performance.now();
    add('until the guest runs', ready - start);
    add('first command', done - ready);
    for (let i = 0; i < COMMANDS; i++) {
      const began = performance.now();
      await running.guest.exec(['true']);
      add('exec', performance.now() - began);
    }
    const before = performance.now();
    await running.finish({ code: 0 });
    add('end', performance.now() - before);
  } finally {
    await running.finish({ code: 0 });
  }
}

/** Forks a running VM by the SDK. @returns the time until each clone has answered a command */
async function timeForks(image: string): Promise<number> {
  await using vm = await run(image, { memory: 2 ** 28, signal: AbortSignal.timeout(BOOT_MS) });
  await vm.exec(['true']);
  const start = performance.now();
  const clones = await vm.fork(FORKS, { signal: AbortSignal.timeout(BOOT_MS) });
  try {
    const answers = await Promise.all(clones.map((clone) => clone.exec(['true'])));
    const ms = performance.now() - start;
    const failed = answers.find(({ exitCode }) => exitCode !== 0);
    if (failed !== undefined) throw new Error(`true: exit code ${failed.exitCode}: ${failed.stderr}`);
    return ms;
  } finally {
    for (const clone of clones) await clone[Symbol.asyncDispose]();
  }
}

/** Boots the demo guest. @returns the time until its log-in prompt */
function timeDemo(): Promise<number> {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const words = [
      ...['--kernel', KERNEL, '--initramfs', INITRAMFS, '--memory', 'size=256M'],
      ...['--cmdline', 'console=ttyS0', '--serial', 'tty', '--console', 'off'],
    ];
    const child = spawn('bin/cloud-hypervisor', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    let [output, ms] = ['', 0];
    child.stdout.on('data', (bytes: Buffer) => {
      output += bytes.toString('latin1');
      if (ms > 0 || !output.includes('login:')) return;
      ms = performance.now() - start;
      child.kill('SIGTERM');
    });
    child.once('error', reject);
    child.once('close', () =>
      ms > 0 ? resolve(ms) : reject(new Error('the demo guest has no log-in prompt')),
    );
  });
}

function report(times: ReadonlyMap<string, readonly number[]>): void {
  const median = (name: string): number => {
    const values = (times.get(name) ?? []).toSorted((a, b) => a - b);
    return values[values.length >> 1] ?? 0;
  };
  const row = (what: string, name: string, reference: readonly [string, string], must: string): void =>
    printRow({
      what,
      ours: inMs(median(name)),
      reference: [reference[0], inMs(median(reference[1]))],
      ratio: median(name) / median(reference[1]),
      must,
    });
  row('warm run of an OCI image, exec to exit', 'warm', ['bare restore', 'restore'], '<= 8');
  row('the same with a shared directory', 'volume', ['bare restore', 'restore'], 'none');
  row('warm run of a disk image, exec to exit', 'disk', ['bare restore', 'restore'], '<= 25');
  row('run in a VM of a pool, exec to exit', 'pool', ['bare restore', 'restore'], '<= 3');
  row('cold run of an OCI image, exec to exit', 'cold', ['demo guest', 'demo'], '<= 1.50');
  printRow({
    what: '10 forks of a ready VM, each has answered',
    ours: inMs(median('forks')),
    must: '<= 6 s',
  });
  printRow({ what: 'further command, open connection', ours: inMs(median('exec')), must: '<= 100 ms' });
  for (const [what, name] of [
    ['of a warm run: node alone', 'node'],
    ['of a warm run: start of a VMM', 'vmm'],
    ['of a warm run: image, VMM and restore', 'until the guest runs'],
    ['of a warm run: first command', 'first command'],
    ['of a warm run: removal of the VM', 'end'],
  ] as const) {
    printRow({ what, ours: inMs(median(name)) });
  }
}
