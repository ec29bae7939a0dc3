import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { loadLibc } from '../../native/libc.ts';
import { openSocketPair } from '../../native/unix-socket.ts';
import { deferred, type Deferred } from '../../util/deferred.ts';
import type { Qmp } from '../qmp/connection.ts';

/*
 * Access to the guest's I/O ports and memory while its vCPUs are stopped, by QEMU's qtest protocol (docs/devel/testing/qtest): one
 * line for each access. The monitors of QEMU can write ports, but not the memory of a device.
 *
 * - guest-bus.ts                              the connection: reads and writes of ports and memory
 * - pci-config.ts, msix.ts                    a PCI function's configuration space and its MSI-X table
 * - pci-hotplug.ts                            QEMU's ACPI hot-plug registers: ejects a device without its guest
 * - virtio-registers.ts, virtio-function.ts   a virtio device: its registers, and all state that a guest has set
 * - virtio-status.ts                          progress of a device's queue, over QMP
 *
 * Each QEMU has one connection, opened at the first use and open until QEMU exits. Invariants: the vCPUs are stopped; accesses are
 * carried out in the order of the calls; selector registers have the guest's values again afterwards.
 */

/** Width of an access in bytes, and the protocol's letter for it. */
const LETTERS = { 1: 'b', 2: 'w', 4: 'l' } as const;
export type Width = keyof typeof LETTERS;

/** Access to registers by offset, or to memory by address. */
export interface Registers {
  readonly read: (offset: number, width: Width) => Promise<number>;
  readonly write: (offset: number, width: Width, value: number) => Promise<void>;
}

/** Deadline for an answer, in milliseconds: QEMU answers at once. */
const ANSWER_MS = 60_000;

/** Address spaces of a vCPU. Accesses are carried out in the order of the calls. */
export interface GuestBus {
  readonly ports: Registers;
  /** guest-physical addresses: RAM and memory of devices */
  readonly memory: Registers;
}

const NAME = 'guest-bus';

/** Open connections. QEMU cannot remove the object of a connection, so each stays open until its QEMU exits. */
const open = new WeakMap<Qmp, Promise<GuestBus>>();

/** Returns access to the buses of a machine whose vCPUs are stopped. Rejects if QEMU refuses it. */
export function guestBus(qmp: Qmp): Promise<GuestBus> {
  let bus = open.get(qmp);
  if (bus === undefined) open.set(qmp, (bus = openBus(qmp)));
  return bus;
}

async function openBus(qmp: Qmp): Promise<GuestBus> {
  await loadLibc();
  const [ours, theirs] = openSocketPair();
  const stream = new Socket({ fd: ours });
  try {
    await qmp.execute('getfd', { fdname: NAME }, [theirs]);
    const addr = { type: 'fd', data: { str: NAME } } as const;
    const backend = { type: 'socket', data: { addr, server: false } } as const;
    // sent together: QEMU executes commands in order, and refuses the second if it has refused the first
    await Promise.all([
      qmp.execute('chardev-add', { id: NAME, backend }),
      qmp.execute('object-add', { 'qom-type': 'qtest', id: NAME, chardev: NAME, log: 'none' }),
    ]);
  } catch (error) {
    stream.destroy();
    throw error;
  } finally {
    closeSync(theirs);
  }
  return busOn(stream);
}

/** Implements the protocol on a connection to QEMU. */
export function busOn(stream: Duplex): GuestBus {
  const waiting: Deferred<string>[] = [];
  const lines = createInterface({ input: stream });
  lines.on('line', (line) => waiting.shift()?.resolve(line));
  // a crash of QEMU before it has read a line resets the connection; readline reports that error again
  for (const one of [lines, stream]) one.on('error', () => undefined);
  stream.once('close', () => {
    for (const one of waiting.splice(0)) one.reject(new Error('QEMU has exited'));
  });
  const ask = async (line: string): Promise<string> => {
    if (stream.destroyed) throw new Error('QEMU has exited');
    const answer = deferred<string>();
    waiting.push(answer);
    writeSoon(stream, `${line}\n`);
    const late = new Error(`${line}: QEMU did not answer within ${ANSWER_MS / 1000} s: it hangs`);
    const timer = setTimeout(() => answer.reject(late), ANSWER_MS).unref();
    const [word, value = ''] = (await answer.promise.finally(() => clearTimeout(timer))).split(' ');
    if (word !== 'OK') throw new Error(`${line}: QEMU answered ${word} ${value}`);
    return value;
  };
  const registers = (read: string, write: string): Registers => ({
    read: async (offset, width) => Number(await ask(`${read}${LETTERS[width]} ${address(offset)}`)),
    write: async (offset, width, value) => {
      await ask(`${write}${LETTERS[width]} ${address(offset)} ${value}`);
    },
  });
  return { ports: registers('in', 'out'), memory: registers('read', 'write') };
}

/** Writes the lines of accesses that are asked for at the same time by one system call. */
function writeSoon(stream: Duplex, line: string): void {
  if (stream.writableCorked === 0) {
    stream.cork();
    process.nextTick(() => stream.uncork());
  }
  stream.write(line);
}

/** Returns the text of an address. @throws Error if the guest has placed a device at no valid address, at which QEMU would exit */
function address(offset: number): string {
  if (!Number.isSafeInteger(offset))
    throw new Error(`the guest has a device at ${offset}, which is no address`);
  return String(offset);
}
