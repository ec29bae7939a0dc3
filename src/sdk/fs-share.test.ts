import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { deferred } from '../util/deferred.ts';
import { VmShares, type FsShare } from './fs-share.ts';

/** A share that counts its calls of `close`. */
function share(): FsShare & { closed: number; whenClosed: Promise<void> } {
  const { promise, resolve } = deferred<void>();
  const one = {
    closed: 0,
    whenClosed: promise,
    config: { tag: 't', socket: '/s' },
    close: async () => {
      one.closed++;
      resolve();
    },
    [Symbol.asyncDispose]: () => one.close(),
  };
  return one;
}

test('a share is closed when its device is removed, however many there were before', async () => {
  const events = new PassThrough();
  await using shares = new VmShares(events);
  for (const id of ['a', 'b', 'c']) {
    const one = share();
    shares.add(id, one);
    events.write(`${JSON.stringify({ source: 'vm', event: 'device-removed', properties: { id } })}\n\n`);
    await one.whenClosed;
    assert.equal(one.closed, 1);
  }
  assert.equal(events.listenerCount('data'), 1);
});

test('the shares that are left are closed with the VM', async () => {
  const one = share();
  await using shares = new VmShares(new PassThrough());
  shares.add('a', one);
  await shares[Symbol.asyncDispose]();
  assert.equal(one.closed, 1);
});
