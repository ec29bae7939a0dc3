import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import {
  closeAll,
  createReceive,
  createSend,
  DescriptorMessage,
  MOST_DESCRIPTORS,
} from './descriptor-passing.ts';
import { allocate } from './memory.ts';
import { EINVAL, EPIPE } from './system-error.ts';
import { openSocketPair } from './unix-socket.ts';

const [receive, send] = [await createReceive(), await createSend()];

function withPair(act: (own: number, other: number) => void): void {
  const [own, other] = openSocketPair();
  try {
    act(own, other);
  } finally {
    closeAll([own, other]);
  }
}

test('descriptors arrive with their bytes, as copies', () => {
  withPair((own, other) => {
    const file = openSync('/dev/null', 'r');
    assert.equal(send(own, Buffer.from('one'), [file, file]), 3);
    const received = receive(other);
    assert.equal(String(received?.bytes), 'one');
    assert.deepEqual(
      received?.fds.map((fd) => fstatSync(fd).rdev),
      [fstatSync(file).rdev, fstatSync(file).rdev],
    );
    closeAll([...(received?.fds ?? []), file]);
  });
});

test('bytes without descriptors bring none, also after a message with some', () => {
  withPair((own, other) => {
    send(own, Buffer.from('a'), [own]);
    closeAll(receive(other)?.fds ?? []);
    writeSync(own, 'b');
    assert.deepEqual(receive(other), { bytes: Buffer.from('b'), fds: [], isCut: false });
  });
});

test('a read returns nothing where there are no bytes yet, and no bytes at the end', () => {
  const [own, other] = openSocketPair();
  assert.equal(receive(other), undefined);
  closeSync(own);
  assert.equal(receive(other)?.bytes.length, 0);
  assert.equal(send(other, Buffer.from('x'), []), -EPIPE);
  closeSync(other);
});

test('as many descriptors as the kernel allows arrive, and one more is refused', () => {
  withPair((own, other) => {
    const most = Array<number>(MOST_DESCRIPTORS).fill(own);
    assert.equal(send(own, Buffer.from('x'), most), 1);
    const received = receive(other);
    assert.equal(received?.fds.length, MOST_DESCRIPTORS);
    closeAll(received?.fds ?? []);
    assert.equal(send(own, Buffer.from('x'), [...most, own]), -EINVAL);
  });
});

test('a message with more descriptors than its receiver takes is cut', () => {
  withPair((own, other) => {
    const [message, data] = [new DescriptorMessage(2), allocate(16)];
    send(own, Buffer.from('x'), [own, own, own]);
    assert.equal(message.receive(other, data.address, 16), 1);
    assert.equal(message.isCut, true);
    assert.equal(message.fds.length, 2);
    closeAll(message.fds);
    message.free();
    data.free();
  });
});
