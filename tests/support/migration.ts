import { existsSync } from 'node:fs';
import { until } from './wait.ts';
import type { TestVmm } from './vmm.ts';

/** Waits until a VMM that was asked to receive a VM listens for it. */
export async function waitsForVm(receiver: TestVmm, url: string): Promise<void> {
  await until(
    'the receiver waits',
    () => receiver.output().includes(`${url}: waiting for a VM`),
    receiver.output,
  );
  if (url.startsWith('unix:')) {
    await until('it listens', () => existsSync(url.slice('unix:'.length)), receiver.output);
  }
}
