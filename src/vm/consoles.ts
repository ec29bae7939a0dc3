import type { Duplex } from 'node:stream';
import { ApiError } from '../api/errors.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { ConsoleConfig } from '../devices/console/config.ts';
import type { HostConsole } from '../host/console/host-console.ts';
import { openConsoleSocket } from '../host/console/console-socket.ts';
import { openPty } from '../host/console/pty.ts';
import { openTerminal } from '../host/console/terminal.ts';
import { qemuIdOf, type Placement } from '../plan/placement.ts';
import { reasonOf } from '../util/errno.ts';
import { logNotice } from '../util/log.ts';

/** Host's end of a serial port, virtio console or debug port: it outlives QEMU, so that a reboot keeps the PTY. */
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

/** Of the consoles that share the terminal, the first of these gets what is typed. */
const TYPED_INTO: readonly Which[] = ['console', 'serial', 'debug_console'];

/** Opens the host's end where the mode has one: Pty, Tty and Socket. */
async function openConsole(which: Which, config: VmConfig): Promise<Console | undefined> {
  const { mode, socket }: AnyConsole = config[which] ?? { mode: 'Off', file: undefined };
  switch (mode) {
    case 'Pty': {
      const pty = await openPty();
      logNotice('console', `${which}: PTY ${pty.path}`);
      return createConsole(which, pty, pty.path);
    }
    case 'Tty':
      return createConsole(which, openTerminal({ takesInput: which === typedInto(config) }));
    case 'Socket':
      return createConsole(which, await openConsoleSocket(socket ?? ''));
    case 'Off':
    case 'Null':
    case 'File':
      return undefined;
  }
}

function typedInto(config: VmConfig): Which | undefined {
  return TYPED_INTO.find((which) => config[which]?.mode === 'Tty');
}

function createConsole(which: Which, end: HostConsole, path?: string): Console {
  let current: Duplex | undefined;
  return {
    path,
    attach: (guest) => {
      // output of the previous machine that was held back is written first
      current?.resume();
      current = guest;
      guest.on('error', ignore);
      // input is held back until the next machine is attached
      guest.once('close', () => current === guest && end.pauseInput());
      forwardOutput(guest, end, { canHold: which === 'serial' });
      forwardInput(end, guest);
    },
    dispose: () => {
      current?.destroy();
      end.dispose();
    },
  };
}

/**
 * Forwards the guest's output. Only a serial port can be held back: QEMU retries when its socket has space. With the
 * other two, QEMU as a whole would stop, QMP included.
 */
function forwardOutput(guest: Duplex, end: HostConsole, { canHold }: { readonly canHold: boolean }): void {
  guest.on('data', (bytes: Buffer) => {
    if (end.write(bytes) || !canHold) return;
    guest.pause();
    end.onDrain(() => guest.resume());
  });
}

/** How much typed input is queued for a guest that does not read it, in bytes; beyond that, input is held back. */
const INPUT_BYTES = 65_536;

/** Forwards typed input to the guest; while the guest does not read it, input is held back. */
function forwardInput(end: HostConsole, guest: Duplex): void {
  end.onInput((bytes) => {
    guest.write(bytes);
    if (guest.writableLength > INPUT_BYTES) end.pauseInput();
  });
  guest.on('drain', end.resumeInput);
  end.resumeInput();
}

/** The stream ends with QEMU, whose end is told elsewhere. */
function ignore(): void {
  return undefined;
}

/** The consoles of a VM. */
export interface Consoles {
  /** Connects a new machine's channels, which are found by QEMU's ids of the devices. */
  readonly attach: (channels: ReadonlyMap<string, Duplex>, placements: readonly Placement[]) => void;
  /** The configuration with the PTYs' paths written into it. */
  readonly complete: (config: VmConfig) => VmConfig;
  readonly dispose: () => void;
}

/** Opens the host's ends of the consoles; none stays open when one cannot be opened. */
export async function openConsoles(config: VmConfig): Promise<Consoles> {
  const open = new Map<Which, Console>();
  const dispose = (): void => {
    for (const one of open.values()) one.dispose();
  };
  try {
    for (const which of CONSOLES) {
      const one = await openConsole(which, config).catch((error: unknown) => {
        throw new ApiError('failed', `${which} _${which}: ${reasonOf(error)}`, { cause: error });
      });
      if (one !== undefined) open.set(which, one);
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return {
    attach: (channels, placements) => {
      for (const placement of placements) {
        const channel = channels.get(qemuIdOf(placement));
        const one = CONSOLES.find((which) => which === placement.device.member);
        if (channel !== undefined && one !== undefined) open.get(one)?.attach(channel);
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
