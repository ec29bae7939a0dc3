import type { Log } from '../../util/log.ts';
import type { EventLoop } from '../event-loop.ts';
import { copyEnd, openConnection } from './connection.ts';
import type { Device } from './device.ts';
import { Session } from './session.ts';

interface Options {
  readonly loop: EventLoop;
  readonly device: Device;
  readonly log: Log;
}

/** The connections of successive front-ends to a device, over socket pairs. */
export class Sessions {
  readonly #options: Options;
  readonly #all = new Set<Session>();

  constructor(options: Options) {
    this.#options = options;
  }

  /** Serves the connection for a new guest; `fd` is the back-end's end, which the caller closes. */
  open(fd: number): void {
    this.#serve(copyEnd(fd), false);
  }

  /**
   * Opens a connection for the next front-end, while the guest's driver stays. The current connection must end first.
   * @returns the front-end's end of it
   */
  renew(): number {
    for (const session of this.#all) session.handOver();
    const { backEnd, frontEnd } = openConnection();
    this.#serve(backEnd, true);
    return frontEnd;
  }

  [Symbol.dispose](): void {
    for (const session of this.#all) session[Symbol.dispose]();
  }

  #serve(fd: number, continuesRings: boolean): void {
    const session = new Session({
      ...this.#options,
      fd,
      continuesRings,
      onEnd: () => this.#all.delete(session),
    });
    this.#all.add(session);
  }
}
