// SIGKILL of VMM and QEMU while differential snapshots are written, composed and restored.
import { test } from 'node:test';
import { killInChains } from './support/chain-kills.ts';
import { KILL_SEED } from './support/random.ts';

test(`a kill loses no snapshot of a chain, and leaves no bad one (seed ${KILL_SEED})`, () => killInChains(2));
