// The API beside a bare node:http server with the same answers: requests per second and latencies.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boot } from '../tests/support/boot.ts';
import { startVmm } from '../tests/support/vmm.ts';
import { until } from '../tests/support/wait.ts';
import { printRow } from './table.ts';

/** Duration of a measurement, in milliseconds. */
const SPAN_MS = 1500;
const WAYS = [1, 16] as const;

/** Reference: a minimal node:http server. It reads the body of its answers from standard input. */
const BARE_SERVER = `
let body = '';
process.stdin.on('data', (part) => (body += part));
process.stdin.on('end', () => require('node:http').createServer((request, response) => {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}).listen(process.argv[1]));
`;

interface Target {
  readonly socket: string;
  readonly path: string;
}

interface Sample {
  readonly perSecond: number;
  /** milliseconds */
  readonly latencies: readonly number[];
}

/** `npm run bench -- api [rounds]` */
export async function benchApi([rounds = '5']: readonly string[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-bench-'));
  try {
    await using vmm = await startVmm();
    using _shell = await boot(vmm);
    for (const name of ['vmm.ping', 'vm.info']) {
      const body = JSON.stringify((await vmm.get(name)).json);
      await using bare = await startBare(join(folder, `${name}.sock`), body);
      const path = `/api/v1/${name}`;
      for (const ways of WAYS) {
        await compare(`${name}, ${ways} connection${ways === 1 ? '' : 's'}`, {
          targets: [
            { socket: vmm.socket, path },
            { socket: bare.socket, path },
          ],
          ways,
          rounds: Number(rounds),
        });
      }
    }
    printRow({ what: 'RSS of the VMM after that', ours: `${rssOf(vmm.pid)} MiB`, must: '<= 75' });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Comparison {
  readonly targets: readonly [Target, Target];
  readonly ways: number;
  readonly rounds: number;
}

async function compare(what: string, { targets, ways, rounds }: Comparison): Promise<void> {
  const samples: [Sample[], Sample[]] = [[], []];
  for (let round = -1; round < rounds; round++) {
    for (const [i, target] of targets.entries()) {
      const sample = await measure(target, ways);
      // the first measurement warms up the compiler
      if (round >= 0) samples[i === 0 ? 0 : 1].push(sample);
    }
  }
  const [ours, bare] = samples.map((all) => ({
    rate: quantile(
      all.map(({ perSecond }) => perSecond),
      0.5,
    ),
    p50: quantile(
      all.flatMap(({ latencies }) => latencies),
      0.5,
    ),
    p99: quantile(
      all.flatMap(({ latencies }) => latencies),
      0.99,
    ),
  }));
  if (ours === undefined || bare === undefined) return;
  const times = ({ p50, p99 }: { readonly p50: number; readonly p99: number }): string =>
    `${p50.toFixed(2)} and ${p99.toFixed(2)} ms`;
  printRow({
    what: `${what}, per second`,
    ours: ours.rate.toFixed(0),
    reference: ['bare node:http', bare.rate.toFixed(0)],
    ratio: ours.rate / bare.rate,
    must: what.startsWith('vmm.ping') ? '>= 0.60' : '>= 0.40',
    note: `p50 and p99 ${times(ours)}; bare ${times(bare)}`,
  });
}

async function measure(target: Target, ways: number): Promise<Sample> {
  const latencies: number[] = [];
  const start = performance.now();
  await Promise.all(Array.from({ length: ways }, () => ask(target, start + SPAN_MS, latencies)));
  return { perSecond: (latencies.length / (performance.now() - start)) * 1000, latencies };
}

/** Sends requests over one connection until the deadline: a minimal client. */
async function ask(
  { socket: path, path: target }: Target,
  deadline: number,
  latencies: number[],
): Promise<void> {
  const socket = connect(path);
  await once(socket, 'connect');
  const question = `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  let start = 0;
  const next = (): void => {
    start = performance.now();
    socket.write(question);
  };
  await new Promise<void>((resolve, reject) => {
    onAnswers(socket, () => {
      const now = performance.now();
      latencies.push(now - start);
      if (now < deadline) next();
      else resolve();
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the server closed the connection')));
    next();
  });
  socket.destroy();
}

function onAnswers(socket: Socket, answered: () => void): void {
  let text = '';
  socket.setEncoding('latin1');
  socket.on('data', (part: string) => {
    text += part;
    const head = text.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(/content-length: (\d+)/i.exec(text.slice(0, head))?.[1]);
    if (text.length < head + 4 + length) return;
    text = '';
    answered();
  });
}

async function startBare(socket: string, body: string): Promise<{ socket: string } & AsyncDisposable> {
  const child: ChildProcess = spawn(process.execPath, ['-e', BARE_SERVER, socket], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  child.stdin?.end(body);
  await until('the bare server listens', async () => {
    const probe = connect(socket);
    await once(probe, 'connect');
    probe.destroy();
    return true;
  });
  return {
    socket,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

function rssOf(pid: number): string {
  const [, kib = ''] = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return (Number(kib) / 1024).toFixed(0);
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}
