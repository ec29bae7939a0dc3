import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { logPostCodes } from './post-codes.ts';

/** Returns a port whose guest writes at times that the test chooses. */
function openPort(context: TestContext) {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const channel = new PassThrough();
  const lines: string[] = [];
  let time = 1000;
  logPostCodes(channel, 1000, {
    log: { warn: (line) => void lines.push(line), debug: () => undefined },
    now: () => time,
  });
  return {
    lines,
    /** milliseconds pass */
    wait: (ms: number): void => {
      time += ms;
      context.mock.timers.tick(ms);
    },
    write: (...codes: number[]): void => void channel.emit('data', Buffer.from(codes)),
    close: async (): Promise<void> => {
      channel.destroy();
      await once(channel, 'close');
    },
  };
}

test('a code is logged with its range and the seconds since the boot', (context) => {
  const { lines, wait, write } = openPort(context);
  wait(96.537);
  write(0x40);
  wait(1102.443);
  write(0x41);
  assert.deepEqual(lines, [
    '[Debug I/O port: Kernel code 0x40] 0.096537 seconds',
    '[Debug I/O port: Kernel code 0x41] 1.198980 seconds',
  ]);
});

test('each range has its name', (context) => {
  const { lines, write } = openPort(context);
  write(0x01, 0x1f, 0x20, 0x3f, 0x40, 0x5f, 0x60, 0x7f, 0x80, 0xff);
  const names = lines.map(
    (line) => /^\[Debug I\/O port: (\w+ code \w+)\] 0\.000000 seconds$/.exec(line)?.[1],
  );
  assert.deepEqual(names, [
    ...['Firmware code 0x1', 'Firmware code 0x1f', 'Bootloader code 0x20', 'Bootloader code 0x3f'],
    ...['Kernel code 0x40', 'Kernel code 0x5f', 'Userspace code 0x60', 'Userspace code 0x7f'],
    ...['Custom code 0x80', 'Custom code 0xff'],
  ]);
});

test('zeros of a delay of Linux are not logged', (context) => {
  const { lines, wait, write } = openPort(context);
  write(0, 0, 0, 0, 0, 0);
  wait(60);
  write(0, 0);
  wait(400);
  write(0);
  wait(10_000);
  assert.deepEqual(lines, []);
});

test('a single zero is logged with the time at which it was written', async (context) => {
  const { lines, wait, write, close } = openPort(context);
  wait(19);
  write(0);
  wait(10_000);
  write(0);
  write(0x20);
  wait(10_000);
  write(0);
  await close();
  assert.deepEqual(lines, [
    '[Debug I/O port: Firmware code 0x0] 0.019000 seconds',
    '[Debug I/O port: Firmware code 0x0] 10.019000 seconds',
    '[Debug I/O port: Bootloader code 0x20] 10.019000 seconds',
    '[Debug I/O port: Firmware code 0x0] 20.019000 seconds',
  ]);
});

test('a flood of one code has few lines and hides no other code', (context) => {
  const { lines, write } = openPort(context);
  for (let i = 0; i < 100; i++) write(...Array.from({ length: 1000 }, () => 0x11));
  write(0x40);
  assert.equal(lines.length, 11);
  assert.match(lines.at(-1) ?? '', /Kernel code 0x40/);
  for (let i = 0; i < 100; i++) write(...Array.from({ length: 255 }, (_, code) => code + 1));
  assert.equal(lines.length, 100);
});
