// Signals to VMM and QEMU at random moments of boot, hot-plug, reboot, snapshot, restore and migration.
import { test } from 'node:test';
import { killAtRandom } from '../support/random-kills.ts';

test('102 signals at random moments: the next boot works, and nothing is left', (context) =>
  killAtRandom(context, 102));
