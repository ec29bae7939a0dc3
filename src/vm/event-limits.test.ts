import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitEvents } from './event-limits.ts';
import { lifecycleEvent, type VmEvent } from './events.ts';

const LIMIT = { most: 2, intervalMs: 10_000 };
const PANIC: VmEvent = { source: 'guest', event: 'panic', properties: { event: 'panic' } };

const reset = (id: string): VmEvent => ({ source: 'virtio-device', event: 'reset', properties: { id } });

test('events of a guest are limited by kind and device, and those dropped are counted', () => {
  const seen: VmEvent[] = [];
  const record = limitEvents((event) => seen.push(event), LIMIT);
  for (let i = 0; i < 400_000; i++) record(PANIC);
  for (let i = 0; i < 5; i++) for (const id of ['a', 'b']) record(reset(id));
  assert.deepEqual(seen, [PANIC, PANIC, reset('a'), reset('b'), reset('a'), reset('b')]);
  record(lifecycleEvent('shutdown'));
  assert.deepEqual(seen.slice(6), [
    { source: 'guest', event: 'dropped', properties: { event: 'panic', count: '399998' } },
    { source: 'virtio-device', event: 'dropped', properties: { event: 'reset', id: 'a', count: '3' } },
    { source: 'virtio-device', event: 'dropped', properties: { event: 'reset', id: 'b', count: '3' } },
    lifecycleEvent('shutdown'),
  ]);
});

test('the number of dropped events is recorded when an interval is over', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const seen: VmEvent[] = [];
  const record = limitEvents((event) => seen.push(event), LIMIT);
  for (let i = 0; i < 5; i++) record(PANIC);
  context.mock.timers.tick(10_002);
  const told = { source: 'guest', event: 'dropped', properties: { event: 'panic', count: '3' } };
  assert.deepEqual(seen.slice(2), [told]);
  context.mock.timers.tick(100_000);
  assert.equal(seen.length, 3);
});

test('events of the host are never dropped', () => {
  const seen: VmEvent[] = [];
  const record = limitEvents((event) => seen.push(event), LIMIT);
  for (let i = 0; i < 50; i++) record(lifecycleEvent('paused'));
  assert.equal(seen.length, 50);
});
