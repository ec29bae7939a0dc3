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

/** Host end of a serial port, virtio console or debug port. It stays open when QEMU exits, so that a reboot keeps the PTY. */
interface Console {
  /** path of the PTY; undefined in the other modes */
  readonly path: string | undefined;
  /** Connects the channel of a new machine. */
  readonly attach: (guest: Duplex) => void;
  readonly dispose: () => void;
}

const CONSOLES = ['serial', 'console', 'debug_console'] as const;
type Which = (typeof CONSOLES)[number];

/** Members of all consoles' configurations; only some consoles support a socket. */
type AnyConsole = Pick<ConsoleConfig, 'mode' | 'file'> & { readonly socket?: string | undefined };

/** Order in which consoles that share the terminal get its input: the first one present. */
const TYPED_INTO: readonly Which[] = ['console', 'serial', 'debug_console'];

/** Opens the host end in the modes that have one: Pty, Tty and Socket. */
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
      // buffered output of the previous machine is written first
      current?.resume();
      current = guest;
      guest.on('error', ignore);
      // input is not read until the next machine is attached
      guest.once('close', () => current === guest && end.pauseInput());
      forwardOutput(guest, end, { canWait: which === 'serial' });
      forwardInput(end, guest);
    },
    dispose: () => {
      current?.destroy();
      end.dispose();
    },
  };
}

/**
 * Forwards the guest's output. Only a serial port may block on its reader: QEMU retries when its socket has space. With the
 * other two the whole QEMU would block, QMP included.
 */
function forwardOutput(guest: Duplex, end: HostConsole, { canWait }: { readonly canWait: boolean }): void {
  guest.on('data', (bytes: Buffer) => {
    if (end.write(bytes) || !canWait) return;
    guest.pause();
    end.onDrain(() => guest.resume());
  });
}

/** Limit of input that is buffered for a guest that does not read it, in bytes. */
const INPUT_BYTES = 65_536;

/** Forwards input to the guest. While the guest does not read it, input is not read from the host. */
function forwardInput(end: HostConsole, guest: Duplex): void {
  end.onInput((bytes) => {
    guest.write(bytes);
    if (guest.writableLength > INPUT_BYTES) end.pauseInput();
  });
  guest.on('drain', end.resumeInput);
  end.resumeInput();
}

/** Ignores errors of a stream: an exit of QEMU causes them, and it is reported elsewhere. */
function ignore(): void {
  return undefined;
}

/** Host ends of a VM's consoles; disposing of them closes them. */
export interface Consoles extends Disposable {
  /** Connects a new machine's channels; the map has QEMU's ids of the devices. */
  readonly attach: (channels: ReadonlyMap<string, Duplex>, placements: readonly Placement[]) => void;
  /** Returns the configuration with the PTYs' paths. */
  readonly complete: (config: VmConfig) => VmConfig;
}

/** Opens the host ends of the consoles. Rejects with ApiError naming the console; none stays open then. */
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
    [Symbol.dispose]: dispose,
  };
}

function withPath<C extends AnyConsole>(config: C, console: Console | undefined): C {
  return console?.path === undefined ? config : { ...config, file: console.path };
}
