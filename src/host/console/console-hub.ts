import type { HostConsole } from './host-console.ts';
import { createOutputLog, type OutputLog } from './output-log.ts';

/*
 * Distributes a console: keeps its newest output, sends it to any number of viewers, and passes their input to the guest. Each viewer
 * has a position in the output and reads from there as fast as it can, so that no viewer delays the guest or another viewer.
 *
 * Invariants: a viewer gets each byte once, in order. Bytes that are no longer kept when a slow viewer wants them are reported to it.
 * The kept output is limited by output-log.ts, whatever the number of viewers.
 */

/** Size of one part of the output for a viewer, in bytes. */
const PART_BYTES = 65_536;

/** Time between two deliveries of output, in milliseconds: a guest that writes byte by byte costs no message for each. */
const DELIVERY_MS = 4;

/** Connection of a viewer. No method blocks. */
export interface ViewerEnd {
  readonly sendOutput: (bytes: Buffer) => void;
  /** Reports the position of the next byte, and the number of bytes that the viewer wanted and that are no longer kept. */
  readonly sendPosition: (position: number, lost: number) => void;
  /** Returns true while its queue is full. `Viewer.continue` must be called once it is not. */
  readonly isFull: () => boolean;
  /** Stops reading input until `resumeInput`. */
  readonly pauseInput: () => void;
  readonly resumeInput: () => void;
  /** Ends the connection: the console was closed. */
  readonly end: () => void;
}

/** A viewer of a console. */
export interface Viewer {
  /** Passes input to the guest. */
  readonly write: (bytes: Buffer) => void;
  /** Continues to send output after the queue of the viewer was full. */
  readonly continue: () => void;
  /** Removes the viewer. */
  readonly leave: () => void;
}

/** All viewers of a console, and the output that is kept for them. The guest's side is that of {@link HostConsole}. */
export interface ConsoleHub extends Pick<HostConsole, 'onInput' | 'pauseInput' | 'resumeInput'> {
  readonly write: (bytes: Buffer) => void;
  /** Counts output that the hub does not get, before that of the next `write`. */
  readonly skip: (bytes: number) => void;
  readonly hasViewers: () => boolean;
  /**
   * Adds a viewer and sends it the kept output from position `after` on; all kept output without it, or where `after` is beyond the
   * output, which is then that of an earlier console.
   */
  readonly view: (end: ViewerEnd, after?: number) => Viewer;
  /** Ends the connections of all viewers. */
  readonly dispose: () => void;
}

interface Reader extends ViewerEnd {
  position: number;
}

/** Creates a hub without viewers. */
export function createConsoleHub(): ConsoleHub {
  const log = createOutputLog();
  const readers = new Set<Reader>();
  const delivery = createDelivery(() => {
    for (const reader of readers) sendOutput(log, reader);
    trim();
  });
  const trim = (): void => {
    let wanted = Infinity;
    for (const { position } of readers) wanted = Math.min(wanted, position);
    log.trim(wanted);
  };
  const input = createInput(readers);
  return {
    ...input.guestSide,
    write: (bytes) => {
      log.append(bytes);
      if (readers.size > 0) delivery.request();
      else trim();
    },
    skip: log.skip,
    hasViewers: () => readers.size > 0,
    view: (end, after) => {
      const isOurs = after !== undefined && after <= log.end();
      const position = isOurs ? Math.max(after, log.start()) : log.start();
      const reader = { ...end, position };
      readers.add(reader);
      if (input.isPaused()) reader.pauseInput();
      reader.sendPosition(position, isOurs ? position - after : 0);
      sendOutput(log, reader);
      return {
        write: input.take,
        continue: () => sendOutput(log, reader),
        leave: () => void readers.delete(reader),
      };
    },
    dispose: () => {
      delivery.stop();
      for (const reader of readers) {
        // the rest of the output that fits
        sendOutput(log, reader);
        reader.end();
      }
      readers.clear();
    },
  };
}

/** Sends as much output as the viewer's queue takes. */
function sendOutput(log: OutputLog, reader: Reader): void {
  while (reader.position < log.end() && !reader.isFull()) {
    const lost = Math.max(0, log.start() - reader.position);
    if (lost > 0) reader.sendPosition((reader.position += lost), lost);
    const part = log.read(reader.position, PART_BYTES);
    reader.position += part.length;
    reader.sendOutput(part);
  }
}

interface Input {
  readonly guestSide: Pick<ConsoleHub, 'onInput' | 'pauseInput' | 'resumeInput'>;
  readonly isPaused: () => boolean;
  readonly take: (bytes: Buffer) => void;
}

/** Passes input of all viewers to the guest, and stops reading it while the guest does not. */
function createInput(readers: ReadonlySet<ViewerEnd>): Input {
  let take: (bytes: Buffer) => void = () => undefined;
  let isPaused = true;
  const setPaused = (value: boolean): void => {
    if (isPaused === value) return;
    isPaused = value;
    for (const reader of readers) {
      if (value) reader.pauseInput();
      else reader.resumeInput();
    }
  };
  return {
    guestSide: {
      onInput: (next) => {
        take = next;
      },
      pauseInput: () => setPaused(true),
      resumeInput: () => setPaused(false),
    },
    isPaused: () => isPaused,
    take: (bytes) => take(bytes),
  };
}

interface Delivery {
  /** Delivers now, or soon where the last delivery was just before. */
  readonly request: () => void;
  readonly stop: () => void;
}

function createDelivery(deliver: () => void): Delivery {
  let timer: NodeJS.Timeout | undefined;
  let last = 0;
  const run = (): void => {
    timer = undefined;
    last = performance.now();
    deliver();
  };
  return {
    request: () => {
      if (timer !== undefined) return;
      const wait = last + DELIVERY_MS - performance.now();
      if (wait <= 0) run();
      else timer = setTimeout(run, wait);
    },
    stop: () => clearTimeout(timer),
  };
}
