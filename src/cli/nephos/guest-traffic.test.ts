import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTraffic } from './guest-traffic.ts';

const TABLE = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     900       9    0    0    0     0          0         0      900       9    0    0    0     0       0          0
  eth0: 1234567     100    0    0    0     0          0         0     4321      50    0    0    0     0       0          0
enp0s4:12345678901     1    0    0    0     0          0         0        9       1    0    0    0     0       0          0
`;

test('the bytes of all interfaces but the loopback are added', () => {
  assert.deepEqual(parseTraffic(TABLE), { received: 12_346_913_468, sent: 4330 });
  assert.deepEqual(parseTraffic(''), { received: 0, sent: 0 });
});
