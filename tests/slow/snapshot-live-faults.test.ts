// Cancellations, signals, resets and hung processes in each phase of a live snapshot. Needs root: the guest has a TAP.
import { rmSync } from 'node:fs';
import { after, before, test } from 'node:test';
import {
  cancelIn,
  cancelWhileStopped,
  PHASES,
  powerOffAt,
  resetAt,
  stopTwinBefore,
  stopTwinInPause,
  takeTwo,
  terminateIn,
  useTerminalAndViewers,
} from '../support/live/live-faults.ts';
import { makeOrigin, type Origin } from '../support/live/live-kills.ts';
import { makeFolder } from '../support/vmm.ts';

const home = makeFolder();
after(() => rmSync(home, { recursive: true, force: true }));
let origin: Origin;
before(async () => {
  origin = await makeOrigin(home);
});

for (const phase of PHASES) {
  test(`DELETE while ${phase}: the VM runs on in one process`, () => cancelIn(origin, phase));
  test(`SIGTERM while ${phase}: nothing is left`, () => terminateIn(origin, phase));
}

// from the start of the second QEMU to the end of the copy, on a quiet host and on a busy one
for (const moment of [0, 40, 80, 100, 120, 150, 250]) {
  test(`a reset of the guest ${moment} ms after the request: it boots again`, () => resetAt(origin, moment));
  test(`a guest that powers off after ${moment} ms: the VMM exits`, () => powerOffAt(origin, moment));
}

test('a terminal, a socket and their viewers continue', useTerminalAndViewers);

test('a stopped twin in the pause: the VM goes on after 5 s', () => stopTwinInPause(origin));
test('a stopped twin before the pause: a cancellation does not wait', () => stopTwinBefore(origin));
test('a cancellation in the pause does not wait for a QEMU that is stopped', () =>
  cancelWhileStopped(origin, 'switching to the other QEMU'));
test('two live snapshots at once are taken one after the other', () => takeTwo(origin));
