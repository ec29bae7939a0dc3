// Limits of repeated events of a guest in the log and in the event monitor.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { makeFolder, startVmm } from './support/vmm.ts';
import { until, within } from './support/wait.ts';

const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;

/** Most events of a kind that are recorded in an interval. */
const TEN = 10;
const INTERVAL_MS = 10_000;

test('floods of panics and device resets: ten of each are recorded, others counted', async () => {
  const path = join(makeFolder(), 'events');
  await using vmm = await startVmm({ args: ['-v', '--event-monitor', `path=${path}`] });
  using shell = await boot(vmm, { pvpanic: true });
  const events = (): string => readFileSync(path, 'utf8');

  // the device without its driver: byte 1 in its first register reports a panic of the kernel (docs/specs/pvpanic)
  await shell.run('cd /sys/bus/pci/drivers/pvpanic-pci && bdf=$(ls -d 0000:*) && echo $bdf >unbind; cd /');
  await shell.run(
    'echo 1 >/sys/bus/pci/devices/$bdf/enable; at=$(head -n 1 /sys/bus/pci/devices/$bdf/resource)',
  );
  const begun = performance.now();
  await shell.run('i=0; while [ $i -lt 300 ]; do devmem ${at%% *} 8 1; i=$((i + 1)); done');
  // the first interval begins with the first panic
  const most = TEN * (Math.ceil((performance.now() - begun) / INTERVAL_MS) + 1);
  await until('the panics are counted', () => /dropped/.test(events()), events);
  // the driver of the rng device is bound and unbound
  const again =
    'cd /sys/bus/virtio/drivers/virtio_rng; for i in $(seq 100); do for d in virtio*; do :; done; echo $d >unbind; echo $d >bind; done; cd /';
  // a busy VMM does not see a change that is undone at once (docs/compatibility.md): it drops events later or not at all
  const isCounted = (): boolean => /"event": "dropped",[^}]*"event": "(?:reset|activated)"/.test(events());
  await until(
    'resets are counted',
    async () => {
      await shell.run(again);
      return isCounted();
    },
    events,
  );
  await within(5000, 'vm.info', async () => assertStatus(await vmm.get('vm.info'), 200));
  assertStatus(await vmm.put('vm.shutdown'), 204);

  assert.ok(count(events(), /"event": "panic",\n  "properties"/g) <= most, events());
  const dropped = [...events().matchAll(/"event": "(\w+)",\n(?: {4}"id": "\w+",\n)? {4}"count": "(\d+)"/g)];
  const of = (kind: string): number =>
    dropped.filter(([, event]) => event === kind).reduce((sum, [, , n]) => sum + Number(n), 0);
  assert.ok(of('panic') >= 300 - most, events());
  assert.ok(of('reset') + of('activated') > 0, events());
  assert.ok(statSync(path).size < 100_000, `${statSync(path).size} bytes of events`);
  assert.ok(count(vmm.output(), /event GUEST_PANICKED \{/g) <= most, 'each is in the log');
  assert.match(vmm.output(), /event GUEST_PANICKED: \d+ further ones are not shown/);
});
