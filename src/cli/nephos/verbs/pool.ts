import { ownCommand } from '../../../util/own-program.ts';
import { didYouMean, nearest } from '../../../util/nearest.ts';
import { poolRequestOf } from '../../../run/pool/pool-key.ts';
import { listPools, type PoolRecord } from '../../../run/pool/pool-record.ts';
import { startPool, stopPool } from '../../../run/pool/start-pool.ts';
import type { RunRequest } from '../../../run/run-request.ts';
import { UsageError } from '../../flags.ts';
import { readRunRequest } from '../read-run.ts';
import { columns, showAge, showJson, showSize } from '../text.ts';
import { readCount, readTime, readWord } from '../values.ts';
import { VerbError, type CommandLine } from '../verb.ts';

/** Most VMs of a pool. */
const SIZE_MAX = 64;

const ACTIONS = ['start', 'ls', 'stop'] as const;

/** Starts, lists and stops pools. */
export async function run(line: CommandLine): Promise<number> {
  const [action = '', image, ...rest] = line.operands;
  switch (ACTIONS.find((one) => one === action)) {
    case 'start':
      return start(line, image);
    case 'ls':
      if (image !== undefined) throw new UsageError(`nephos pool ls: unexpected argument ${image}`);
      return list(readWord('format', line.value('format') ?? 'table', ['table', 'json']));
    case 'stop':
      return stop([image, ...rest].filter((one) => one !== undefined));
    case undefined:
      throw new UsageError(
        `nephos pool: unknown action ${action}`,
        didYouMean(nearest(action, ACTIONS)) ?? 'expected start, ls or stop',
      );
  }
}

async function start(line: CommandLine, image: string | undefined): Promise<number> {
  if (image === undefined) throw new UsageError('nephos pool start: the image is missing');
  const size = readCount('size', line.value('size') ?? '1', [1, SIZE_MAX]);
  const idleMs = readTime('idle', line.value('idle') ?? '10m');
  const wanted = await poolRequestOf(await readStandByRequest(line, image));
  if (wanted === undefined)
    throw new VerbError(`${image}: a pool has VMs of OCI images only`, 'run the image with nephos run');
  await startPool({ ...wanted, size, idleMs }, [...ownCommand(), 'own-pool']);
  return 0;
}

/** Makes the request of stand-by VMs: that of a run without a command. */
async function readStandByRequest(line: CommandLine, image: string): Promise<RunRequest> {
  const request = await readRunRequest({ ...line, operands: [image], command: [] });
  // the VM has no other entry than this one, which the run replaces
  return { ...request, command: ['true'], entrypoint: '', removes: true };
}

async function list(format: 'table' | 'json'): Promise<number> {
  const pools = await listPools();
  process.stdout.write(format === 'json' ? showJson(pools.map(facts)) : table(pools));
  return 0;
}

function table(pools: readonly PoolRecord[]): string {
  return columns([
    ['IMAGE', 'CPUS', 'MEMORY', 'NETWORK', 'READY', 'RUNS', 'AGE'],
    ...pools.map(({ request, ready, size, taken, created }) => [
      request.image ?? '',
      String(request.cpus),
      showSize(request.memory),
      request.network,
      `${ready.length}/${size}`,
      String(taken),
      showAge(created),
    ]),
  ]);
}

function facts({
  request,
  ready,
  size,
  taken,
  created,
  idleMs,
}: PoolRecord): Readonly<Record<string, unknown>> {
  const { image, cpus, memory, network } = request;
  const vms = ready.map(({ name }) => name);
  return { image: image ?? null, cpus, memory, network, size, ready: vms, runs: taken, created, idleMs };
}

/** Stops the pools of the images, or all. */
async function stop(images: readonly string[]): Promise<number> {
  const pools = await listPools();
  for (const image of images)
    if (!pools.some(({ request }) => request.image === image))
      throw new VerbError(`there is no pool of ${image}`, 'nephos pool ls lists all');
  const wanted = pools.filter(({ request }) => images.length === 0 || images.includes(request.image ?? ''));
  await Promise.all(wanted.map(stopPool));
  return 0;
}
