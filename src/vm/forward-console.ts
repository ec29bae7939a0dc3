import type { Duplex } from 'node:stream';
import { createConsoleHub, type ConsoleHub } from '../host/console/console-hub.ts';
import type { HostConsole } from '../host/console/host-console.ts';

/** A serial port, virtio console or debug port of a VM. It stays open when QEMU exits, so that a reboot keeps its PTY and viewers. */
export interface Console {
  /** path of the PTY; undefined in the other modes */
  readonly path: string | undefined;
  /** its viewers; undefined for a port of programs */
  readonly hub: ConsoleHub | undefined;
  /** Connects the channel of a new machine; undefined if QEMU handles the bytes alone until the first viewer. */
  readonly attach: (guest: Duplex | undefined) => void;
  /** Returns whether the machine has a channel. */
  readonly isAttached: () => boolean;
  /** Returns the channel of the machine. */
  readonly channel: () => Duplex | undefined;
  /** Holds input back until `releaseInput`: the guest passes to another machine. Input that arrives meanwhile is kept. */
  readonly holdInput: () => void;
  /** Writes bytes that the previous machine has not read, then the held input, and continues to read input. */
  readonly releaseInput: (unread: Buffer) => void;
  readonly dispose: () => void;
}

/** Host end of a console in the modes that have one. */
export interface OpenedEnd {
  readonly end?: HostConsole;
  readonly path?: string;
}

/** Kind of a console. */
export interface ConsoleKind {
  /** its output is held back for a slow reader of the host end */
  readonly canWait: boolean;
  /** it has viewers */
  readonly isViewed: boolean;
}

/** Creates a console. */
export function createConsole({ end, path }: OpenedEnd, { canWait, isViewed }: ConsoleKind): Console {
  let current: Duplex | undefined;
  const hub = isViewed ? createConsoleHub() : undefined;
  const inputs = [end, hub].filter((input) => input !== undefined);
  const gate = createInputGate(inputs);
  return {
    path,
    hub,
    attach: (guest) => {
      // buffered output of the previous machine is written first
      current?.resume();
      current = guest;
      if (guest === undefined) return;
      guest.on('error', ignore);
      // input is not read until the next machine is attached
      guest.once('close', () => {
        if (current === guest) gate.pause();
      });
      forwardOutput(guest, { hub, end, canWait });
      gate.open(guest);
    },
    isAttached: () => current !== undefined,
    channel: () => current,
    holdInput: gate.hold,
    releaseInput: gate.release,
    dispose: () => {
      current?.destroy();
      hub?.dispose();
      end?.dispose();
    },
  };
}

interface Receivers {
  readonly hub: ConsoleHub | undefined;
  readonly end: HostConsole | undefined;
  readonly canWait: boolean;
}

/**
 * Forwards the guest's output. Only a serial port may block on its reader: QEMU retries when its socket has space. With the
 * other two the whole QEMU would block, QMP included.
 */
function forwardOutput(guest: Duplex, { hub, end, canWait }: Receivers): void {
  guest.on('data', (bytes: Buffer) => {
    hub?.write(bytes);
    if (end === undefined || end.write(bytes) || !canWait) return;
    guest.pause();
    end.onDrain(() => guest.resume());
  });
}

/** Limit of input that is buffered for a guest that does not read it, in bytes. */
const INPUT_BYTES = 65_536;

type InputSource = Pick<HostConsole, 'onInput' | 'pauseInput' | 'resumeInput'>;

/** Passes input of the host ends to a guest. */
interface InputGate {
  /** Passes input to this guest from now on. While the guest does not read it, input is not read from any source. */
  readonly open: (guest: Duplex) => void;
  /** Stops reading input until the next guest. */
  readonly pause: () => void;
  readonly hold: () => void;
  readonly release: (unread: Buffer) => void;
}

function createInputGate(sources: readonly InputSource[]): InputGate {
  let current: Duplex | undefined;
  /** input since `hold`; undefined while input is not held */
  let held: Buffer[] | undefined;
  const pause = (): void => {
    for (const source of sources) source.pauseInput();
  };
  const resume = (): void => {
    if (held === undefined) for (const source of sources) source.resumeInput();
  };
  const take = (bytes: Buffer): void => {
    if (held !== undefined) return void held.push(bytes);
    current?.write(bytes);
    if ((current?.writableLength ?? 0) > INPUT_BYTES) pause();
  };
  return {
    open: (guest) => {
      current = guest;
      for (const source of sources) source.onInput(take);
      guest.on('drain', resume);
      if (held === undefined) resume();
      else pause();
    },
    pause,
    hold: () => {
      pause();
      held ??= [];
    },
    release: (unread) => {
      const bytes = [unread, ...(held ?? [])];
      held = undefined;
      for (const one of bytes) if (one.length > 0) take(one);
      if ((current?.writableLength ?? 0) <= INPUT_BYTES) resume();
    },
  };
}

/** Ignores errors of a stream: an exit of QEMU causes them, and it is reported elsewhere. */
function ignore(): void {
  return undefined;
}
