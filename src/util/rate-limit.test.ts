import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createLimiter, limitCalls, limitLog } from './rate-limit.ts';

/** Timers of one test: all unit tests run in one process. */
function mockTimers({ mock }: TestContext): (ms: number) => void {
  mock.timers.enable({ apis: ['setTimeout'] });
  return (ms) => mock.timers.tick(ms);
}

test('calls up to the limit of an interval pass, and the others are counted', () => {
  let time = 0;
  const limiter = createLimiter({ most: 2, intervalMs: 100 }, () => time);
  assert.deepEqual(
    Array.from({ length: 5 }, () => limiter.take()),
    [true, true, false, false, false],
  );
  time = 99;
  assert.equal(limiter.take(), false);
  assert.equal(limiter.remaining(), 1);
  assert.equal(limiter.takeDropped(), 4);
  assert.equal(limiter.takeDropped(), 0);
  time = 100;
  assert.equal(limiter.take(), true);
  assert.equal(limiter.remaining(), 100);
});

test('the number of dropped calls is reported once, at the end of the interval', (context) => {
  const tick = mockTimers(context);
  const acted: number[] = [];
  const dropped: number[] = [];
  const act = limitCalls((value: number) => acted.push(value), {
    ...{ most: 3, intervalMs: 1000 },
    onDropped: (count) => dropped.push(count),
  });
  for (let i = 0; i < 1000; i++) act(i);
  assert.deepEqual(acted, [0, 1, 2]);
  assert.deepEqual(dropped, []);
  tick(1002);
  assert.deepEqual(dropped, [997]);
  tick(10_000);
  assert.deepEqual(dropped, [997]);
});

test('calls within the limit bring no line about dropped ones', (context) => {
  const tick = mockTimers(context);
  const dropped: number[] = [];
  const act = limitCalls(() => undefined, {
    ...{ most: 3, intervalMs: 1000 },
    onDropped: (n) => dropped.push(n),
  });
  for (let i = 0; i < 3; i++) act();
  tick(5000);
  assert.deepEqual(dropped, []);
});

test('a limited log limits each level separately and names the subject of dropped lines', (context) => {
  const tick = mockTimers(context);
  const lines: string[] = [];
  const at = (level: string) => (message: string) => void lines.push(`${level} ${message}`);
  const log = limitLog(
    { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') },
    'broken rings',
    { most: 1, intervalMs: 1000 },
  );
  for (let i = 0; i < 4; i++) log.warn(`w${i}`);
  log.error('e');
  tick(1002);
  assert.deepEqual(lines, ['warn w0', 'error e', 'warn 3 lines about broken rings were dropped']);
});
