import { closeSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ApiError } from '../../../api/errors.ts';
import { RING_BYTES } from '../../../devices/common/step.ts';
import { endWriting, holdReads, receiveUnread } from '../../../native/unix-socket.ts';
import { qemuIdOf } from '../../../plan/placement.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import type { Qemu } from '../../../qemu/process/qemu.ts';
import { switchConsole, type SwitchedMachine } from '../../connect-console.ts';
import type { Consoles, PlacedConsole } from '../../consoles.ts';
import type { Machine } from '../../machine.ts';

/*
 * Passes the consoles of a machine to its twin. No byte is lost or repeated, in either direction.
 *
 * - Input: the VMM stops reading it before the vCPUs stop. Bytes in the old channel that QEMU has not read are taken back before the
 *   state is saved: a byte that QEMU has read is in the state. The twin gets the rest first, then the input that arrived meanwhile.
 * - Output: a stopped serial port still writes a byte that waits for space in its socket, and the byte is in the state too. The old
 *   channel is therefore not read from then on. When the twin runs, the channel is ended, and read before that of the twin, whose
 *   output waits in its socket.
 * - Output in a ring of QEMU (mode Null) goes to the viewers' side of the console.
 * - A file (mode File) is written by QEMU itself, the twin's appends to it.
 *
 * States: prepared, taken back; then complete or undone.
 */

const log = createLog('console');

/** Machine whose consoles are passed on. */
export interface PassingMachine extends Pick<Machine, 'layout' | 'deviceSteps'> {
  readonly qemu: Pick<Qemu, 'copyChannelEnd' | 'qmp'>;
}

/** Machine that gets the consoles. */
export interface TwinMachine extends SwitchedMachine {
  readonly qemu: Pick<Qemu, 'channels' | 'switchToChannel'>;
}

type Ends = Pick<Consoles, 'placed' | 'attachLate'>;

/** The consoles of a machine whose guest continues in another one. */
export interface ConsolePass {
  /** Takes back the input that QEMU has not read. Must be called after the vCPUs have stopped, and before the state is saved. */
  readonly takeBack: () => Promise<void>;
  /** Connects the consoles to the twin, whose vCPUs may run: each as soon as the output of the old machine is read. */
  readonly complete: (twin: TwinMachine) => void;
  /** Gives the old machine its input back. Never rejects. */
  readonly undo: () => Promise<void>;
}

/** Stops reading the consoles' input. Rejects with ApiError naming the console whose channel cannot be taken over; nothing is changed then. */
export async function preparePass(consoles: Ends, machine: PassingMachine): Promise<ConsolePass> {
  const placed = consoles.placed(machine.layout.placements);
  const channels: PassedChannel[] = [];
  try {
    for (const one of placed) {
      const channel = await openPassed(one, machine);
      if (channel !== undefined) channels.push(channel);
    }
  } catch (error) {
    closeAll(channels);
    throw error;
  }
  for (const { console } of placed) console.holdInput();
  return {
    takeBack: async () => {
      for (const channel of channels) channel.release = holdReads(channel.stream);
      await Promise.all(channels.map(takeUnread));
      await Promise.all(placed.map((one) => keepRing(one, machine)));
    },
    complete: (twin) => {
      for (const { end } of channels) endWriting(end);
      closeAll(channels);
      for (const one of placed) {
        connectTwin(one, unreadOf(channels, one), { consoles, twin }).catch((error: unknown) => {
          log.error(`${one.placement.id}: is no longer connected: ${reasonOf(error)}`);
        });
      }
    },
    undo: async () => {
      closeAll(channels);
      for (const one of placed) one.console.releaseInput(unreadOf(channels, one));
    },
  };
}

/** The channel of a console in the old machine. */
interface PassedChannel {
  readonly of: PlacedConsole;
  /** copy of the socket of QEMU */
  readonly end: number;
  readonly stream: Duplex;
  unread: Buffer;
  /** continues the reads of output */
  release: () => void;
}

async function openPassed(of: PlacedConsole, { qemu }: PassingMachine): Promise<PassedChannel | undefined> {
  const stream = of.console.channel();
  if (stream === undefined) return undefined;
  const end = await qemu.copyChannelEnd(qemuIdOf(of.placement)).catch((cause: unknown) => {
    const reason = `${of.placement.id}: its channel cannot be passed on: ${reasonOf(cause)}`;
    throw new ApiError('failed', reason, { cause });
  });
  return { of, end, stream, unread: Buffer.alloc(0), release: () => undefined };
}

function closeAll(channels: readonly PassedChannel[]): void {
  for (const { end, release } of channels) {
    closeSync(end);
    release();
  }
}

function unreadOf(channels: readonly PassedChannel[], one: PlacedConsole): Buffer {
  return channels.find(({ of }) => of === one)?.unread ?? Buffer.alloc(0);
}

/** Takes the bytes in the socket, and those that the VMM has yet to write to it. */
async function takeUnread(channel: PassedChannel): Promise<void> {
  const parts: Buffer[] = [];
  for (;;) {
    const isWritten = channel.stream.writableLength === 0 || channel.stream.destroyed;
    parts.push(receiveUnread(channel.end));
    if (isWritten) break;
    await nextTurn();
  }
  channel.unread = Buffer.concat(parts);
}

/** Moves the output that QEMU keeps in a ring to the viewers' side. */
async function keepRing({ console, placement }: PlacedConsole, machine: PassingMachine): Promise<void> {
  const steps = machine.deviceSteps.get(placement.id) ?? [];
  const isRing = steps.some((step) => step.kind === 'chardev' && step.backend.type === 'ringbuf');
  if (!isRing || console.isAttached()) return;
  const device = qemuIdOf(placement);
  const text = await machine.qemu.qmp.execute('ringbuf-read', { device, size: RING_BYTES, format: 'base64' });
  const bytes = Buffer.from(text, 'base64');
  // a full ring has lost output before
  if (bytes.length === RING_BYTES) console.hub?.skip(1);
  console.hub?.write(bytes);
}

async function connectTwin(
  { which, placement, console }: PlacedConsole,
  unread: Buffer,
  { consoles, twin }: { readonly consoles: Ends; readonly twin: TwinMachine },
): Promise<void> {
  const old = console.channel();
  if (old !== undefined) await untilClosed(old);
  console.attach(twin.qemu.channels.get(qemuIdOf(placement)));
  // the first viewer may have come after the twin was planned
  if (!console.isAttached() && which !== 'debug_console' && console.hub?.hasViewers() === true) {
    await switchConsole({ machine: twin, consoles }, which).catch((error: unknown) => {
      log.warn(`${which} _${which}: cannot be viewed: ${reasonOf(error)}`);
    });
  }
  console.releaseInput(unread);
}

function untilClosed(stream: Duplex): Promise<void> {
  return stream.closed ? Promise.resolve() : new Promise((resolve) => void stream.once('close', resolve));
}
