import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { busOn } from './guest-bus.ts';

/** The QEMU side of the connection, which reads nothing. */
class DeafQemu extends Duplex {
  override _read(): void {
    return undefined;
  }
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done();
  }
}

test('a crash of QEMU rejects what is pending on the connection', async () => {
  const stream = new DeafQemu();
  const answer = busOn(stream).ports.read(0xcf8, 4);
  stream.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
  await assert.rejects(answer, /QEMU has exited/);
});
