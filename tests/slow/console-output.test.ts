// 50 MiB of output of a virtio console for five viewers at the same time.
import { test } from 'node:test';
import { createAndBoot, login } from '../support/boot.ts';
import { guestConfig } from '../support/guest.ts';
import { checkOutput } from '../support/viewers.ts';
import { startVmm } from '../support/vmm.ts';

const TIMEOUT_MS = 20 * 60_000;

for (const mode of ['Pty', 'Null'] as const) {
  test(`console ${mode}: five viewers get 50 MiB, each byte in order`, async () => {
    await using vmm = await startVmm();
    await createAndBoot(vmm, guestConfig({ console: { mode } }));
    using shell = await login(vmm);
    await checkOutput(vmm, shell, { mib: 50, count: 5, timeoutMs: TIMEOUT_MS });
  });
}
