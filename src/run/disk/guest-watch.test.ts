import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { until } from '../../../tests/support/wait.ts';
import type { Guest } from '../../guest/guest.ts';
import { NOTIFY_PORT } from '../../sdk/notify/listener.ts';
import type { NotifyMessage } from '../../sdk/notify/message.ts';
import type { RunError } from '../errors.ts';
import { followReboots } from './guest-reboots.ts';
import { RESETS_MAX, watchGuest, type GuestWatch } from './guest-watch.ts';

interface Watched {
  readonly watch: GuestWatch;
  readonly failures: RunError[];
  readonly reports: NotifyMessage[];
  /** Emits the event of a boot. */
  readonly boot: () => void;
  /** Sends a report of the guest. */
  readonly report: (text: string) => Promise<void>;
}

async function withWatch(use: (watched: Watched) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-watch-'));
  try {
    const path = join(folder, 'v');
    const failures: RunError[] = [];
    const reports: NotifyMessage[] = [];
    await using watch = await watchGuest(path, {
      onFailed: (error) => failures.push(error),
      onReport: (message) => reports.push(message),
    });
    const events = new PassThrough();
    watch.follow(events, 'boot');
    await use({
      watch,
      failures,
      reports,
      boot: () => events.emit('data', Buffer.from('{"source":"vm","event":"booting"}\n\n')),
      report: async (text) => {
        const socket = connect({ path: `${path}_${NOTIFY_PORT}`, allowHalfOpen: true });
        socket.resume().end(text);
        await once(socket, 'close');
      },
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('resets in a row without readiness are a failure; the boot itself is none', async () => {
  await withWatch(async ({ failures, boot }) => {
    for (let i = 0; i < RESETS_MAX; i++) boot();
    assert.equal(failures.length, 0);
    boot();
    assert.match(failures[0]?.message ?? '', /^the guest was reset 3 times in a row before it was ready$/);
    assert.equal(failures[0]?.fault, 'crashed');
  });
});

test('readiness between resets, reported or seen, begins another count', async () => {
  await withWatch(async ({ watch, failures, boot, report }) => {
    boot();
    for (let i = 0; i < 3 * RESETS_MAX; i++) {
      boot();
      if (i % 2 === 0) await report('READY=1');
      else watch.markReady();
      await watch.boot().ready;
    }
    assert.deepEqual(failures, []);
  });
});

test('a shutdown begins where a target of the boot is left, and ends with the reset', async () => {
  await withWatch(async ({ watch, reports, boot, report }) => {
    boot();
    await report('X_SYSTEMD_UNIT_INACTIVE=cloud-init.target');
    assert.equal(watch.isShuttingDown(), false);
    await report('X_SYSTEMD_UNIT_INACTIVE=multi-user.target');
    assert.equal(watch.isShuttingDown(), true);
    boot();
    assert.equal(watch.isShuttingDown(), false);
    assert.deepEqual(reports, [{ left: 'cloud-init.target' }, { left: 'multi-user.target' }]);
  });
});

test('a guest is connected again after each reset; earlier attempts are aborted', async () => {
  await withWatch(async ({ watch, boot }) => {
    const closed: string[] = [];
    const guestOf = (name: string): Guest =>
      // the other members are not used
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      ({ [Symbol.asyncDispose]: async () => void closed.push(name) }) as Partial<Guest> as Guest;
    const attempts: AbortSignal[] = [];
    const second = guestOf('second');
    {
      await using reboots = followReboots(watch, guestOf('first'), (signal) => {
        attempts.push(signal);
        if (attempts.length > 1) return Promise.resolve(second);
        return once(signal, 'abort').then(() => Promise.reject(new Error('reset')));
      });
      boot();
      const reset = reboots.nextReset();
      boot();
      await reset;
      await until('the first attempt has begun', () => attempts.length === 1);
      boot();
      assert.equal(await reboots.ready(), second);
      assert.equal(reboots.guest(), second);
      assert.equal(attempts[0]?.aborted, true);
    }
    assert.equal(closed[0], 'first');
    assert.equal(closed.at(-1), 'second');
  });
});
