import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { watchStalls } from './event-loop-stalls.ts';

test('a stall of the event loop is reported with about its length', async () => {
  let longest = 0;
  using _watch = watchStalls((seconds) => (longest = Math.max(longest, seconds)));
  await delay(50);
  // measured in processor time: this thread may wait for a processor
  const start = process.cpuUsage();
  for (let used = 0; used < 200_000;) {
    const { user, system } = process.cpuUsage(start);
    used = user + system;
  }
  await delay(50);
  assert.ok(longest > 0.1, `${longest} s`);
});
