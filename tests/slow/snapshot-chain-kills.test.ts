// 20 kills of VMM and QEMU in each of a differential snapshot, a composition and the restore of a chain.
import { test } from 'node:test';
import { ACTIONS, killInChains } from '../support/chain-kills.ts';
import { KILL_SEED } from '../support/random.ts';

for (const action of ACTIONS) {
  test(`20 kills in ${action} lose no snapshot of a chain (seed ${KILL_SEED})`, () =>
    killInChains(20, [action]));
}
