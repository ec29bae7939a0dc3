// Signals to VMM and QEMU at random moments; tests/slow/random-kills.test.ts has many more.
import { test } from 'node:test';
import { killAtRandom } from './support/random-kills.ts';

test('12 signals at random moments: the next boot works, and nothing is left', (context) =>
  killAtRandom(context, 12));
