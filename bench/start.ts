// Starts: `cloud-hypervisor` until its API answers, beside an empty Node process; a restore beside a hand-written script for QEMU.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { benchRestoreByHand } from './restore-by-hand.ts';
import { medianOf, medianRatio } from './pairs.ts';
import { inMs, printRow } from './table.ts';

/** Interval of the attempts to connect, in milliseconds. */
const POLL_MS = 1;

/** Variable with which Node parses all certificates at its start, 30 ms. */
const CERTIFICATES = 'NODE_EXTRA_CA_CERTS';

/** The least that a program on Node does to answer a request. */
const SMALLEST_SERVER =
  "require('node:http').createServer((_, answer) => answer.end('{}')).listen(process.argv[1])";

/** `npm run bench -- start [rounds]` */
export async function benchStart([rounds = '20']: readonly string[]): Promise<void> {
  console.log(`load ${loadavg()[0]?.toFixed(1)}`);
  const { [CERTIFICATES]: certificates, ...without } = process.env;
  await benchApiStart('start to first answer', { env: without, rounds: Number(rounds) });
  if (certificates !== undefined)
    await benchApiStart(`the same with ${CERTIFICATES}`, { env: process.env, rounds: Number(rounds) });
  await benchRestoreByHand(Number(rounds));
}

interface StartBench {
  readonly env: NodeJS.ProcessEnv;
  readonly rounds: number;
}

async function benchApiStart(what: string, { env, rounds }: StartBench): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-bench-'));
  const [empty, smallest, ours]: [number[], number[], number[]] = [[], [], []];
  try {
    for (let round = -1; round < rounds; round++) {
      const [one, other] = [join(folder, `smallest-${round}`), join(folder, `ours-${round}`)];
      const times = [
        timeEmpty(env),
        await timeFirstAnswer([process.execPath, '-e', SMALLEST_SERVER, one], { env, socket: one }),
        await timeFirstAnswer(['bin/cloud-hypervisor', '--api-socket', other], { env, socket: other }),
      ] as const;
      // the first round fills the page cache
      if (round < 0) continue;
      empty.push(times[0]);
      smallest.push(times[1]);
      ours.push(times[2]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  printRow({
    what,
    ours: inMs(medianOf(ours)),
    reference: ['empty Node process', inMs(medianOf(empty))],
    ratio: medianRatio(ours, empty),
    must: '<= 1.40',
  });
  printRow({
    what: '  the same beside a server of one line',
    ours: inMs(medianOf(ours)),
    reference: ['node:http', inMs(medianOf(smallest))],
    ratio: medianRatio(ours, smallest),
    note: `that one / an empty Node: ${medianRatio(smallest, empty).toFixed(2)}`,
  });
}

/** Returns the time from exec to exit of a Node without a program, in milliseconds. */
function timeEmpty(env: NodeJS.ProcessEnv): number {
  const start = performance.now();
  spawnSync(process.execPath, ['-e', '0'], { env });
  return performance.now() - start;
}

interface Answering {
  readonly env: NodeJS.ProcessEnv;
  readonly socket: string;
}

/** Returns the time from exec of a server to its first answer of `vmm.ping`, in milliseconds. */
async function timeFirstAnswer(
  [program = '', ...args]: readonly string[],
  { env, socket }: Answering,
): Promise<number> {
  const start = performance.now();
  const child = spawn(program, args, { env, stdio: 'inherit' });
  const exited = once(child, 'exit');
  try {
    while (!(await answers(socket))) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    return performance.now() - start;
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () =>
      socket.write('GET /api/v1/vmm.ping HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    );
    socket.once('error', () => resolve(false));
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
