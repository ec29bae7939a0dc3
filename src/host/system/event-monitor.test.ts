import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { openEventMonitor } from './event-monitor.ts';

test('a descriptor of Node itself is refused', async () => {
  const own = readdirSync('/proc/self/fd').find((fd) => linkOf(fd).startsWith('anon_inode:'));
  assert.ok(own !== undefined);
  await assert.rejects(openEventMonitor({ fd: Number(own) }), {
    message: `file descriptor ${own}: is no file, pipe, socket or terminal that was passed to this process`,
  });
});

test('a descriptor that is open for reading only is refused', async () => {
  const fd = openSync('/dev/null', 'r');
  try {
    await assert.rejects(openEventMonitor({ fd }), {
      message: `file descriptor ${fd}: is not open for writing`,
    });
  } finally {
    closeSync(fd);
  }
});

test('a pipe of the event loop is refused', async () => {
  const all = readdirSync('/proc/self/fd');
  const own = all.find((fd) => linkOf(fd).startsWith('pipe:') && isEventLoops(fd, all));
  assert.ok(own !== undefined);
  await assert.rejects(openEventMonitor({ fd: Number(own) }), /: is a pipe of this process itself$/);
});

test('a descriptor that is closed is named', async () => {
  await assert.rejects(openEventMonitor({ fd: 999 }), {
    message: 'file descriptor 999: bad file descriptor',
  });
});

/** The descriptor that listed the folder is closed. */
function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

/** Returns true if the other end is in this process, and the descriptor is a non-blocking writer. */
function isEventLoops(fd: string, all: readonly string[]): boolean {
  const isShared = all.filter((other) => linkOf(other) === linkOf(fd)).length > 1;
  return isShared && /^flags:\s*0*2004001$/m.test(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'));
}
