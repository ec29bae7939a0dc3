// Programs of the host that connect and send no CONNECT line.
import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { test } from 'node:test';
import { libc } from '../../native/libc.ts';
import { Op } from './packet.ts';
import { MAX_CONNECTIONS } from './connections.ts';
import { bench, play, receive } from './test-guest.ts';
import { connectTo } from '../../native/unix-socket.ts';

const ROUNDS = MAX_CONNECTIONS + 100;

/** Returns the ports that the guest is asked for, while the device handles events after each step of the host. */
async function portsAsked(round: (path: string) => void): Promise<number[]> {
  using guest = await bench();
  const ports: number[] = [];
  const steps = function* (): Generator<void> {
    for (let i = 0; i < ROUNDS; i++) {
      round(guest.path);
      yield;
    }
    const last = connectTo(guest.path);
    writeSync(last, 'CONNECT 5\n');
    for (let i = 0; i < 100 && ports.length === 0; i++) {
      yield;
      for (const { op, targetPort } of receive(guest)) if (op === Op.Request) ports.push(targetPort);
    }
    libc().close(last);
  };
  play(guest, steps());
  return ports;
}

test('programs that disconnect before their CONNECT line is whole free their slot', async () => {
  const ports = await portsAsked((path) => {
    const fd = connectTo(path);
    writeSync(fd, 'CONN');
    libc().close(fd);
  });
  assert.deepEqual(ports, [5]);
});

test('programs without a CONNECT line are replaced by later ones', async () => {
  const silent: number[] = [];
  const ports = await portsAsked((path) => silent.push(connectTo(path)));
  for (const fd of silent) libc().close(fd);
  assert.equal(silent.filter((fd) => fd < 0).length, 0);
  assert.deepEqual(ports, [5]);
});
