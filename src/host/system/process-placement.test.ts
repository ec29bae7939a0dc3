import assert from 'node:assert/strict';
import { test } from 'node:test';
import { processorsIn } from './cpu-affinity.ts';
import { parseControlGroups } from './process-placement.ts';

test('control groups of both versions, with a colon in a path', () => {
  assert.deepEqual(parseControlGroups('9:name=systemd:/a\n2:cpu,cpuacct:/b:c/d\n0::/\n\n'), [
    { controllers: 'name=systemd', path: '/a' },
    { controllers: 'cpu,cpuacct', path: '/b:c/d' },
    { controllers: '', path: '/' },
  ]);
});

test('a thread has at least one processor', async () => {
  const processors = await processorsIn(process.pid);
  assert.ok(processors.length > 0 && processors.every((one) => Number.isInteger(one) && one >= 0));
});
