import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PortForward } from '../../devices/net/port-forward.ts';
import { hostPortsIn } from './host-ports.ts';

// as QEMU 10.0 prints it, with a connection of the guest's and one through a forward
const TEXT = [
  'Hub -1 (na):',
  '  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ',
  '  TCP[ESTABLISHED]   15       10.0.2.15 40000       192.0.2.1   443     0     0',
  '  TCP[HOST_FORWARD]  11       127.0.0.1 32791       10.0.2.15    22     0     0',
  '  TCP[HOST_FORWARD]   9               * 41485       10.0.2.15    22     0     0',
  '  TCP[HOST_FORWARD]   3       127.0.0.1  2222       10.0.2.15    22     0     0',
  '  UDP[HOST_FORWARD]   8       127.0.0.2 40985       10.0.2.15    53     0     0',
  'Hub -1 (na.b):',
  '  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ',
  '  TCP[HOST_FORWARD]  12       127.0.0.1 37307       10.0.2.15    22     0     0',
  '',
].join('\r\n');

function forward(more: Partial<PortForward>): PortForward {
  return { protocol: 'tcp', host_address: '127.0.0.1', host_port: 0, guest_port: 22, ...more };
}

test('each forward gets its port, in the order of the configuration', () => {
  const forwards = [
    forward({ protocol: 'udp', host_address: '127.0.0.2', guest_port: 53 }),
    forward({}),
    forward({ host_port: 2222 }),
    forward({ host_address: '0.0.0.0' }),
  ];
  assert.deepEqual(hostPortsIn(TEXT, { id: 'na', forwards }), [40_985, 32_791, 2222, 41_485]);
});

test('a configured port is not assigned to a forward whose port QEMU chose', () => {
  const forwards = [forward({}), forward({ host_port: 32_791 })];
  assert.deepEqual(hostPortsIn(TEXT, { id: 'na', forwards }), [2222, 32_791]);
});

test('forwards of another network are ignored', () => {
  assert.deepEqual(hostPortsIn(TEXT, { id: 'na.b', forwards: [forward({})] }), [37_307]);
  assert.throws(() => hostPortsIn(TEXT, { id: 'na.b', forwards: [forward({}), forward({})] }), /port 22/);
  assert.throws(() => hostPortsIn(TEXT, { id: 'none', forwards: [forward({})] }), /does not listen/);
});
