// The watchdog resets a guest that does not feed it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { stateOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

test('a watchdog', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { watchdog: true });
  const bootId = (): Promise<string> => shell.run('cat /proc/sys/kernel/random/boot_id');
  const before = await bootId();
  const event = 'watchdog: the guest no longer feeds it';

  // a fed watchdog does nothing for longer than its timeout
  await shell.run('watchdog -t 1 -T 4 /dev/watchdog; sleep 6');
  assert.equal(await bootId(), before);
  // a paused guest cannot feed it
  assertStatus(await vmm.put('vm.pause'), 204);
  const paused = performance.now();
  await until('a pause is longer than the watchdog waits', () => performance.now() - paused > 6000);
  assertStatus(await vmm.put('vm.resume'), 204);
  await shell.run('sleep 2');
  assert.equal(await bootId(), before);
  assert.ok(!vmm.output().includes(event));

  // closed without the magic byte the watchdog stays armed
  shell.type('kill -9 $(pidof watchdog)\r');
  await shell.login();
  assert.notEqual(await bootId(), before);
  assert.ok(vmm.output().includes(event), vmm.output());
  assert.equal(await stateOf(vmm), 'Running');
});
