// Faults while a booted VM is in a live snapshot: it continues in its QEMU, whose RAM is frozen. Needs root: the guest has a TAP.
import { rmSync } from 'node:fs';
import { after, before, test } from 'node:test';
import {
  cancelIn,
  cancelWhileStopped,
  PHASES_IN_PLACE,
  powerOffAt,
  resetAt,
  stopQemuIn,
  takeTwo,
  terminateIn,
} from '../support/live/live-faults.ts';
import { killsInPlace, makeOrigin, type Origin } from '../support/live/live-kills.ts';
import { makeFolder } from '../support/vmm.ts';

const home = makeFolder();
after(() => rmSync(home, { recursive: true, force: true }));
let origin: Origin;
before(async () => {
  origin = { ...(await makeOrigin(home)), boots: true };
});

for (const phase of PHASES_IN_PLACE) {
  test(`DELETE while ${phase}: the VM runs on`, () => cancelIn(origin, phase));
  test(`SIGTERM while ${phase}: nothing is left`, () => terminateIn(origin, phase));
  test(`QEMU is stopped for 7 s while ${phase}`, () => stopQemuIn(origin, phase, 7000));
}

for (const moment of [0, 10, 25, 40, 60, 90, 150]) {
  test(`a reset of the guest ${moment} ms after the request: it boots again`, () => resetAt(origin, moment));
  test(`a guest that powers off after ${moment} ms: the VMM exits`, () => powerOffAt(origin, moment));
}

test('a cancellation in the pause does not wait for a QEMU that is stopped', () =>
  cancelWhileStopped(origin, 'freezing memory'));
test('two live snapshots at once are taken one after the other', () => takeTwo(origin));
test('twenty kills during live snapshots', (context) => killsInPlace(context, 20));
