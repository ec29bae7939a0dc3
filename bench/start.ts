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
  const [empty, ours]: [number[], number[]] = [[], []];
  try {
    for (let round = -1; round < rounds; round++) {
      const pair = [timeEmpty(env), await timeFirstAnswer(join(folder, `${round}`), env)] as const;
      // the first pair fills the page cache
      if (round < 0) continue;
      empty.push(pair[0]);
      ours.push(pair[1]);
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
}

/** Returns the time from exec to exit of a Node without a program, in milliseconds. */
function timeEmpty(env: NodeJS.ProcessEnv): number {
  const start = performance.now();
  spawnSync(process.execPath, ['-e', '0'], { env });
  return performance.now() - start;
}

/** Returns the time from exec to the first answer of `vmm.ping`, in milliseconds. */
async function timeFirstAnswer(socket: string, env: NodeJS.ProcessEnv): Promise<number> {
  const start = performance.now();
  const child = spawn('bin/cloud-hypervisor', ['--api-socket', socket], { env, stdio: 'inherit' });
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
