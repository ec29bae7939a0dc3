import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { Epoll, EPOLLIN, EPOLLONESHOT, openEventfd, signalEventfd } from './epoll.ts';
import { loadLibc } from './libc.ts';
import { openSocketPair } from './unix-socket.ts';

await loadLibc();

test('a handler gets the events of its own descriptor', () => {
  using epoll = new Epoll();
  const [own, other] = openSocketPair();
  const [quiet] = [openEventfd()];
  const calls: string[] = [];
  epoll.add(other, EPOLLIN, (events) => calls.push(`socket ${events}`));
  epoll.add(quiet, EPOLLIN, () => calls.push('eventfd'));
  assert.equal(epoll.wait(0), 0);
  writeSync(own, 'x');
  epoll.dispatch(epoll.wait(1000));
  assert.deepEqual(calls, [`socket ${EPOLLIN}`]);
  for (const fd of [own, other, quiet]) closeSync(fd);
});

test('a handler is not called after it was removed, even for an event that was reported before', () => {
  using epoll = new Epoll();
  const [one, two] = [openEventfd(), openEventfd()];
  let calls = 0;
  const registrations = [one, two].map((fd) =>
    epoll.add(fd, EPOLLIN, () => {
      calls++;
      for (const { remove } of registrations) remove();
    }),
  );
  signalEventfd(one);
  signalEventfd(two);
  const count = epoll.wait(1000);
  assert.equal(count, 2);
  epoll.dispatch(count);
  assert.equal(calls, 1);
  assert.equal(epoll.wait(0), 0);
  closeSync(one);
  closeSync(two);
});

test('a one-shot registration reports again only after it was rearmed', () => {
  using epoll = new Epoll();
  const fd = openEventfd();
  const { rearm } = epoll.add(fd, EPOLLIN | EPOLLONESHOT, () => undefined);
  signalEventfd(fd);
  assert.equal(epoll.wait(1000), 1);
  assert.equal(epoll.wait(0), 0);
  rearm(EPOLLIN | EPOLLONESHOT);
  assert.equal(epoll.wait(1000), 1);
  closeSync(fd);
});

test('a descriptor that cannot be watched is refused with the reason', () => {
  using epoll = new Epoll();
  const file = openSync('/etc/passwd', 'r');
  assert.throws(() => epoll.add(file, EPOLLIN, () => undefined), /EPERM: operation not permitted, epoll_ctl/);
  closeSync(file);
});
