import assert from 'node:assert/strict';
import type { TestHome } from './nephos.ts';
import { until } from './wait.ts';

/** Options of the runs and of their pool. */
const SHAPE = ['--memory', '256M'];

/** Runs an image a number of times in a row, then 8 times at once; each run has its own exit code and output. */
export async function runOften(home: TestHome, image: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await runOnce(home, image, i);
  await Promise.all(Array.from({ length: 8 }, (_, i) => runOnce(home, image, i)));
}

async function runOnce(home: TestHome, image: string, i: number): Promise<void> {
  const code = i % 256;
  const result = await home.nephos(
    'run',
    '--rm',
    ...SHAPE,
    image,
    '--',
    'sh',
    '-c',
    `echo ${i}; exit ${code}`,
  );
  assert.deepEqual(result, { code, stdout: `${i}\n`, stderr: '' });
}

/** As {@link runOften}, with a pool of two VMs. It is stopped at the end. */
export async function runOftenInPool(home: TestHome, image: string, count: number): Promise<void> {
  assert.equal((await home.nephos('pool', 'start', '--size', '2', ...SHAPE, image)).code, 0);
  await until('the pool has a ready VM', async () => (await home.nephos('ps')).stdout.includes('stand-by'));
  await runOften(home, image, count);
  assert.match((await home.nephos('pool', 'ls', '--format', 'json')).stdout, /"runs": ?[1-9]/);
  assert.equal((await home.nephos('pool', 'stop')).code, 0);
}
