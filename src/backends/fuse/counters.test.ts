import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { RequestCounters } from './counters.ts';
import { Opcode } from './opcodes.ts';
import { startDriver, u32s, u64s } from './test-driver.ts';
import { filesWith } from './test-files.ts';

test('requests are counted, and the bytes that were read and written', () => {
  const counters = new RequestCounters();
  using driver = startDriver({
    counters,
    files: filesWith({ read: () => 300, write: (_caller, range) => Math.min(4, range.length) }),
  });
  driver.init();
  const read = [u64s(9, 0), u32s(1000, 0), u64s(0), u32s(0, 0)];
  assert.equal(driver.call({ opcode: Opcode.Read, node: 7, body: read }).payload.byteLength, 300);
  // the file system takes 4 of 6 bytes
  const write = [u64s(9, 0), u32s(6, 0), u64s(0), u32s(0, 0), Buffer.from('abcdef')];
  assert.equal(driver.call({ opcode: Opcode.Write, node: 7, body: write }).payload.getUint32(0, true), 4);
  assert.equal(driver.call({ opcode: Opcode.Read, node: 7, body: [u64s(9)] }).error, constants.errno.EINVAL);
  // another thread has the memory alone
  const { memory } = counters;
  assert.deepEqual(new RequestCounters(memory).read(), {
    ...{ requests: 4, read_ops: 2, read_bytes: 300, write_ops: 1, write_bytes: 4 },
  });
});
