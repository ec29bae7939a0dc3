import type { Duplex } from 'node:stream';
import { ApiError } from '../api/errors.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { ConsoleConfig } from '../devices/console.ts';
import { openConsoleSocket } from '../host/console-socket.ts';
import { openPty, type Pty } from '../host/pty.ts';
import { openTerminal } from '../host/terminal.ts';
import { qemuId } from '../machine/placement.ts';
import { reasonOf } from '../util/errno.ts';

/** Our end of a serial port or virtio console: it outlives the QEMU behind it, so that a reboot keeps the PTY. */
interface Console {
  /** path of the PTY, where there is one */
  readonly path: string | undefined;
  /** Connects the guest's side; the one before is let go. */
  readonly attach: (guest: Duplex) => void;
  readonly dispose: () => void;
}

const CONSOLES = ['serial', 'console', 'debug_console'] as const;
type Which = (typeof CONSOLES)[number];

/** What is the same of all of them; only some can be on a socket. */
type AnyConsole = Pick<ConsoleConfig, 'mode' | 'file'> & { readonly socket?: string | undefined };

/** Opens our end where the mode has one: Pty, Tty and Socket. */
async function openConsole(which: Which, { mode, socket }: AnyConsole): Promise<Console | undefined> {
  // QEMU never waits with what a guest writes to a virtio console: what its socket does not take at once is lost
  const waits = which !== 'console';
  switch (mode) {
    case 'Pty':
      return onPty(waits);
    case 'Tty':
      return onEnd(openTerminal(), waits);
    case 'Socket':
      return onEnd(await openConsoleSocket(socket ?? ''), waits);
    case 'Off':
    case 'Null':
    case 'File':
      return undefined;
  }
}

async function onPty(waits: boolean): Promise<Console> {
  const pty = await openPty();
  return { ...onEnd(pty, waits), path: pty.path };
}

function onEnd(end: Omit<Pty, 'path'>, waits: boolean): Console {
  return {
    path: undefined,
    attach: (guest) => {
      end.onInput((bytes) => send(guest, bytes));
      forward(guest, end, waits);
    },
    dispose: end.dispose,
  };
}

/** Gives a guest's output on; a guest that can waits for an end that is full. */
function forward(guest: Duplex, end: Pick<Pty, 'write' | 'onDrain'>, waits: boolean): void {
  guest.on('data', (bytes: Buffer) => {
    if (end.write(bytes) || !waits) return;
    guest.pause();
    end.onDrain(() => guest.resume());
  });
  guest.on('error', ignore);
}

/** How much typed input waits for a guest that does not read, in bytes; what is beyond is lost, as on a real line. */
const INPUT_BYTES = 65_536;

function send(guest: Duplex, bytes: Buffer): void {
  if (guest.writable && guest.writableLength < INPUT_BYTES) guest.write(bytes);
}

/** The stream ends with QEMU, whose end is told elsewhere. */
function ignore(): void {
  return undefined;
}

/** The consoles of a VM. */
export interface Consoles {
  /** Connects a new machine's channels, by the id of their chardev. */
  readonly attach: (channels: ReadonlyMap<string, Duplex>) => void;
  /** The configuration with the PTYs' paths written into it. */
  readonly complete: (config: VmConfig) => VmConfig;
  readonly dispose: () => void;
}

/** Opens our ends of the consoles; none stays open when one cannot be opened. */
export async function openConsoles(config: VmConfig): Promise<Consoles> {
  const open = new Map<Which, Console>();
  const dispose = (): void => {
    for (const one of open.values()) one.dispose();
  };
  try {
    for (const which of CONSOLES) {
      const one = await openConsole(which, config[which] ?? { mode: 'Off', file: undefined }).catch(
        (error: unknown) => {
          throw new ApiError('failed', `${which} _${which}: ${reasonOf(error)}`, { cause: error });
        },
      );
      if (one !== undefined) open.set(which, one);
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return {
    attach: (channels) => {
      for (const [which, one] of open) {
        const channel = channels.get(qemuId(`_${which}`));
        if (channel !== undefined) one.attach(channel);
      }
    },
    complete: (config) => ({
      ...config,
      serial: withPath(config.serial, open.get('serial')),
      console: withPath(config.console, open.get('console')),
      ...(config.debug_console && {
        debug_console: withPath(config.debug_console, open.get('debug_console')),
      }),
    }),
    dispose,
  };
}

function withPath<C extends AnyConsole>(config: C, console: Console | undefined): C {
  return console?.path === undefined ? config : { ...config, file: console.path };
}
