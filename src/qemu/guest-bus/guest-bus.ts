import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { loadLibc } from '../../native/libc.ts';
import { openSocketPair } from '../../native/unix-socket.ts';
import { deferred, type Deferred } from '../../util/deferred.ts';
import type { Qmp } from '../qmp/connection.ts';

/*
 * The machine's buses as its processor reaches them, while it stands still. QEMU has this way for its own tests
 * (docs/devel/testing/qtest): a line for each access over a stream. Its monitors can write ports, but no memory of a device's.
 */

/** How many bytes one access moves, and the protocol's letter for it. */
const LETTERS = { 1: 'b', 2: 'w', 4: 'l' } as const;
export type Width = keyof typeof LETTERS;

/** Registers that are reached by their offset, or address. */
export interface Registers {
  readonly read: (offset: number, width: Width) => Promise<number>;
  readonly write: (offset: number, width: Width, value: number) => Promise<void>;
}

/** How long QEMU may take to answer, in milliseconds: it does at once. */
const ANSWER_MS = 60_000;

/** What a processor can reach. Accesses are done in the order in which they are asked for. */
export interface GuestBus {
  readonly ports: Registers;
  /** guest addresses: RAM and what devices have in their place */
  readonly memory: Registers;
}

const NAME = 'guest-bus';

/** The open ones: QEMU takes no second one of a name, so each stays until its QEMU ends. */
const open = new WeakMap<Qmp, Promise<GuestBus>>();

/** The buses of a machine, which must not run meanwhile. Rejects where QEMU does not give them. */
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
    await qmp.execute('chardev-add', { id: NAME, backend });
    await qmp.execute('object-add', { 'qom-type': 'qtest', id: NAME, chardev: NAME, log: 'none' });
  } catch (error) {
    stream.destroy();
    throw error;
  } finally {
    closeSync(theirs);
  }
  return busOn(stream);
}

/** The buses behind a connection to QEMU. */
export function busOn(stream: Duplex): GuestBus {
  const waiting: Deferred<string>[] = [];
  const lines = createInterface({ input: stream });
  lines.on('line', (line) => waiting.shift()?.resolve(line));
  // a QEMU that crashes before it has read a line resets the connection, which readline tells again as its own error
  for (const one of [lines, stream]) one.on('error', () => undefined);
  stream.once('close', () => {
    for (const one of waiting.splice(0)) one.reject(new Error('the machine has ended'));
  });
  const ask = async (line: string): Promise<string> => {
    if (stream.destroyed) throw new Error('the machine has ended');
    const answer = deferred<string>();
    waiting.push(answer);
    stream.write(`${line}\n`);
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

/** A guest may have put a device anywhere, and QEMU ends when it is given what is no address. */
function address(offset: number): string {
  if (!Number.isSafeInteger(offset))
    throw new Error(`the guest has a device at ${offset}, beyond all memory`);
  return String(offset);
}
