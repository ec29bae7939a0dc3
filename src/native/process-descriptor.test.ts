import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { copyDescriptor } from './process-descriptor.ts';
import { endWriting, receiveUnread } from './unix-socket.ts';

test('a descriptor of a child is copied', async () => {
  const file = openSync('/dev/null', 'r');
  const child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', file] });
  await once(child, 'spawn');
  try {
    const copy = await copyDescriptor(child.pid ?? 0, 3);
    assert.equal(readlinkSync(`/proc/self/fd/${copy}`), '/dev/null');
    assert.equal(fstatSync(copy).ino, fstatSync(file).ino);
    closeSync(copy);
    await assert.rejects(copyDescriptor(child.pid ?? 0, 99), /pidfd_getfd/);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
    closeSync(file);
  }
  await assert.rejects(copyDescriptor(child.pid ?? 0, 3), /pidfd_open/);
});

test('the copy of a socket takes bytes that the child has not read, and ends its output', async () => {
  const child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  await once(child, 'spawn');
  const [, , , stream] = child.stdio;
  assert.ok(stream !== null && stream !== undefined && 'write' in stream && 'on' in stream);
  const copy = await copyDescriptor(child.pid ?? 0, 3);
  try {
    await new Promise((resolve) => stream.write('unread', resolve));
    assert.equal(String(receiveUnread(copy)), 'unread');
    assert.equal(receiveUnread(copy).length, 0);
    const ended = once(stream, 'end');
    stream.on('data', () => undefined);
    endWriting(copy);
    await ended;
  } finally {
    closeSync(copy);
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});
