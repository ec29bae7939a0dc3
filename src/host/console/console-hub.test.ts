import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createConsoleHub, type Viewer, type ViewerEnd } from './console-hub.ts';
import { LAG_BYTES } from './output-log.ts';

const MIB = 2 ** 20;

/** A viewer's connection that records everything. */
function recorder() {
  const record = {
    output: [] as Buffer[],
    positions: [] as (readonly [position: number, lost: number])[],
    isFull: false,
    isPaused: false,
    hasEnded: false,
  };
  const end: ViewerEnd = {
    sendOutput: (bytes) => void record.output.push(bytes),
    sendPosition: (position, lost) => void record.positions.push([position, lost]),
    isFull: () => record.isFull,
    pauseInput: () => (record.isPaused = true),
    resumeInput: () => (record.isPaused = false),
    end: () => (record.hasEnded = true),
  };
  return { record, end, text: () => Buffer.concat(record.output).toString('latin1') };
}

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!holds()) {
    assert.ok(performance.now() < end);
    await delay(1);
  }
}

test('each viewer gets each byte once, from the kept output on', async () => {
  const hub = createConsoleHub();
  hub.write(Buffer.from('one '));
  const [early, late] = [recorder(), recorder()];
  hub.view(early.end);
  hub.write(Buffer.from('two '));
  hub.view(late.end);
  for (const word of ['three ', 'four ']) hub.write(Buffer.from(word));
  await until(() => [early, late].every((one) => one.text() === 'one two three four '));
  assert.deepEqual(early.record.positions, [[0, 0]]);
  assert.deepEqual(late.record.positions, [[0, 0]]);
  hub.dispose();
});

test('a viewer that connects again continues at its position', () => {
  const hub = createConsoleHub();
  hub.write(Buffer.from('0123456789'));
  const again = recorder();
  hub.view(again.end, 7);
  assert.equal(again.text(), '789');
  assert.deepEqual(again.record.positions, [[7, 0]]);
  const atEnd = recorder();
  hub.view(atEnd.end, 10);
  assert.deepEqual([atEnd.text(), atEnd.record.positions], ['', [[10, 0]]]);
  hub.dispose();
});

test('a position beyond the output is that of an earlier console: all kept output is sent', () => {
  const hub = createConsoleHub();
  hub.write(Buffer.from('0123456789'));
  const other = recorder();
  hub.view(other.end, 11);
  assert.deepEqual([other.text(), other.record.positions], ['0123456789', [[0, 0]]]);
  hub.dispose();
});

test('a viewer that connects again is notified of output that is no longer kept', () => {
  const hub = createConsoleHub();
  for (let i = 0; i < 64; i++) hub.write(Buffer.alloc(65_536));
  const again = recorder();
  hub.view(again.end, 1000);
  const [[position, lost] = [0, 0]] = again.record.positions;
  assert.ok(position > 2 * MIB && position <= 3 * MIB, String(position));
  assert.equal(lost, position - 1000);
  assert.equal(again.text().length, 4 * MIB - position);
  hub.dispose();
});

test('a full viewer gets no output, does not delay another, and loses none of 16 MiB', async () => {
  const hub = createConsoleHub();
  const [slow, fast] = [recorder(), recorder()];
  const viewer: Viewer = hub.view(slow.end);
  hub.view(fast.end);
  slow.record.isFull = true;
  const total = LAG_BYTES - MIB;
  for (let at = 0; at < total; at += MIB) hub.write(Buffer.alloc(MIB, at / MIB));
  await until(() => fast.text().length === total);
  assert.equal(slow.text().length, 0);
  slow.record.isFull = false;
  viewer.continue();
  assert.equal(slow.text(), fast.text());
  assert.deepEqual(slow.record.positions, [[0, 0]]);
  hub.dispose();
});

test('a viewer that is slower than 16 MiB is notified of the gap, and goes on behind it', async () => {
  const hub = createConsoleHub();
  const [slow, fast] = [recorder(), recorder()];
  const viewer: Viewer = hub.view(slow.end);
  hub.view(fast.end);
  slow.record.isFull = true;
  const total = 2 * LAG_BYTES;
  for (let at = 0; at < total; at += MIB) hub.write(Buffer.alloc(MIB, at / MIB));
  await until(() => fast.text().length === total);
  slow.record.isFull = false;
  viewer.continue();
  const [, [position, lost] = [0, 0]] = slow.record.positions;
  assert.ok(position > 0 && position === lost);
  assert.equal(slow.text(), fast.text().slice(position));
  hub.dispose();
});

test('input of all viewers reaches the guest, and is held back while the guest does not read', () => {
  const hub = createConsoleHub();
  let typed = '';
  hub.onInput((bytes) => (typed += bytes.toString()));
  hub.resumeInput();
  const [one, two] = [recorder(), recorder()];
  const [first, second] = [hub.view(one.end), hub.view(two.end)];
  first.write(Buffer.from('a'));
  second.write(Buffer.from('b'));
  assert.equal(typed, 'ab');
  hub.pauseInput();
  const third = recorder();
  hub.view(third.end);
  assert.deepEqual(
    [one, two, third].map(({ record }) => record.isPaused),
    [true, true, true],
  );
  hub.resumeInput();
  assert.deepEqual(
    [one, two, third].map(({ record }) => record.isPaused),
    [false, false, false],
  );
  hub.dispose();
});

test('a viewer that has left gets nothing more; the end of the console ends the others', () => {
  const hub = createConsoleHub();
  const [gone, here] = [recorder(), recorder()];
  hub.view(gone.end).leave();
  hub.view(here.end);
  hub.write(Buffer.from('last'));
  hub.dispose();
  assert.deepEqual([gone.text(), gone.record.hasEnded], ['', false]);
  assert.deepEqual([here.text(), here.record.hasEnded], ['last', true]);
});

test('a viewer that connects again is notified of output that the hub did not get', () => {
  const hub = createConsoleHub();
  hub.write(Buffer.from('0123456789'));
  hub.skip(5);
  hub.write(Buffer.from('new'));
  const again = recorder();
  hub.view(again.end, 8);
  assert.deepEqual([again.text(), again.record.positions], ['new', [[15, 7]]]);
  assert.equal(hub.hasViewers(), true);
  hub.dispose();
});
