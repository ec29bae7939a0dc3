import type { Duplex } from 'node:stream';
import type { ViewedConsole } from '../api/console-messages.ts';
import { ApiError } from '../api/errors.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { ConsoleConfig } from '../devices/console/config.ts';
import type { ConsoleHub } from '../host/console/console-hub.ts';
import { openConsoleSocket } from '../host/console/console-socket.ts';
import { openPty } from '../host/console/pty.ts';
import { openTerminal } from '../host/console/terminal.ts';
import { qemuIdOf, type Placement } from '../plan/placement.ts';
import type { KeptOutput } from '../qemu/process/switch-chardev.ts';
import { reasonOf } from '../util/errno.ts';
import { logNotice } from '../util/log.ts';
import { createConsole, type Console, type OpenedEnd } from './forward-console.ts';

const CONSOLES = ['serial', 'console', 'debug_console'] as const;
type Which = (typeof CONSOLES)[number];

/** Members of all consoles' configurations; only some consoles support a socket. */
type AnyConsole = Pick<ConsoleConfig, 'mode' | 'file'> & { readonly socket?: string | undefined };

/** Order in which consoles that share the terminal get its input: the first one present. */
const TYPED_INTO: readonly Which[] = ['console', 'serial', 'debug_console'];

/** Opens a console; the debug port has none in the modes in which QEMU alone handles its bytes. */
async function openConsole(which: Which, config: VmConfig): Promise<Console | undefined> {
  const { mode }: AnyConsole = config[which] ?? { mode: 'Off', file: undefined };
  if (mode === 'Off') return undefined;
  if (which === 'debug_console' && (mode === 'Null' || mode === 'File')) return undefined;
  const isPort = which === 'console' && config.console.port !== undefined;
  return createConsole(await openEnd(which, config), {
    canWait: which === 'serial',
    isViewed: which !== 'debug_console' && !isPort,
  });
}

/** Opens the host end in the modes that have one: Pty, Tty and Socket. */
async function openEnd(which: Which, config: VmConfig): Promise<OpenedEnd> {
  const { mode, socket }: AnyConsole = config[which] ?? { mode: 'Off', file: undefined };
  switch (mode) {
    case 'Pty': {
      const pty = await openPty();
      logNotice('console', `${which}: PTY ${pty.path}`);
      return { end: pty, path: pty.path };
    }
    case 'Tty':
      return { end: openTerminal({ takesInput: which === typedInto(config) }) };
    case 'Socket':
      return { end: await openConsoleSocket(socket ?? '') };
    case 'Off':
    case 'Null':
    case 'File':
      return {};
  }
}

function typedInto(config: VmConfig): Which | undefined {
  return TYPED_INTO.find((which) => config[which]?.mode === 'Tty');
}

/** A console and its device. */
export interface PlacedConsole {
  readonly which: Which;
  readonly placement: Placement;
  readonly console: Console;
}

/** Host ends of a VM's consoles; disposing of them closes them. */
export interface Consoles extends Disposable {
  /** Connects a new machine's channels; the map has QEMU's ids of the devices. */
  readonly attach: (channels: ReadonlyMap<string, Duplex>, placements: readonly Placement[]) => void;
  /** Returns QEMU's ids of the consoles that have viewers. */
  readonly viewed: (placements: readonly Placement[]) => ReadonlySet<string>;
  /** Returns whether a console has a channel, so that its hub gets the output. */
  readonly isAttached: (which: ViewedConsole) => boolean;
  /** Connects the channel that the first viewer of a machine needs, behind its earlier output. */
  readonly attachLate: (which: ViewedConsole, kept: KeptOutput, channel: Duplex) => void;
  /** Returns the viewers' side of a console; undefined if it has none. */
  readonly hub: (which: ViewedConsole) => ConsoleHub | undefined;
  /** Returns the consoles of a machine. */
  readonly placed: (placements: readonly Placement[]) => readonly PlacedConsole[];
  /** Returns the configuration with the PTYs' paths. */
  readonly complete: (config: VmConfig) => VmConfig;
}

/** Opens the host ends of the consoles. Rejects with ApiError naming the console; none stays open then. */
export async function openConsoles(config: VmConfig): Promise<Consoles> {
  const open = new Map<Which, Console>();
  const dispose = (): void => {
    for (const one of open.values()) one.dispose();
  };
  const consoleOf = (placement: Placement): Console | undefined => {
    const which = whichOf(placement);
    return which && open.get(which);
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
        consoleOf(placement)?.attach(channels.get(qemuIdOf(placement)));
      }
    },
    viewed: (placements) =>
      new Set(placements.filter((one) => consoleOf(one)?.hub?.hasViewers() === true).map(qemuIdOf)),
    isAttached: (which) => open.get(which)?.isAttached() === true,
    attachLate: (which, { bytes, missing }, channel) => {
      const one = open.get(which);
      if (missing > 0) one?.hub?.skip(missing);
      one?.hub?.write(bytes);
      one?.attach(channel);
    },
    hub: (which) => open.get(which)?.hub,
    placed: (placements) => placedIn(open, placements),
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

function placedIn(open: ReadonlyMap<Which, Console>, placements: readonly Placement[]): PlacedConsole[] {
  return placements.flatMap((placement) => {
    const which = whichOf(placement);
    const console = which && open.get(which);
    return which && console ? [{ which, placement, console }] : [];
  });
}

function whichOf({ device }: Placement): Which | undefined {
  return CONSOLES.find((one) => one === device.member);
}

function withPath<C extends AnyConsole>(config: C, console: Console | undefined): C {
  return console?.path === undefined ? config : { ...config, file: console.path };
}
