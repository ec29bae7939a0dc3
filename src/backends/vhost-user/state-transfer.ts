import type { Log } from '../../util/log.ts';
import { reasonOf } from '../../util/errno.ts';
import type { EventLoop } from '../event-loop.ts';
import { closeAll } from '../../native/descriptor-passing.ts';
import type { Device } from './device.ts';
import { Direction, PHASE_STOPPED } from './message.ts';
import { readState, writeState, type StateChannel } from './state-channel.ts';

/** Replies to SET_DEVICE_STATE_FD: bit 8 tells that the front-end's channel is used, the lower ones are an error. */
const ACCEPTED = 0x100n;
const REFUSED = 0x101n;

/** Replies to CHECK_DEVICE_STATE. */
const GOOD = 0n;
const BROKEN = 1n;

interface Options {
  readonly loop: EventLoop;
  readonly device: Device;
  readonly log: Log;
  /** called when the device has loaded a state */
  readonly onLoaded: () => void;
}

/** A transfer that the front-end requests. */
interface Transfer {
  readonly direction: number;
  readonly phase: number;
  /** channel for the state, mostly a pipe */
  readonly fd: number;
  /** the device processes its queues */
  readonly isRunning: boolean;
}

/**
 * Transfers of a device's state to and from the front-end (vhost-user specification, "Migrating back-end state"). The channel never
 * blocks the thread: it is read and written while the loop handles other events, from the reply on. The front-end waits on the channel
 * and asks for the result afterwards.
 *
 * States: none -> moving -> good or broken; a further transfer starts over.
 */
export class StateTransfer {
  readonly #options: Options;
  #channel: StateChannel | undefined;
  /** result of the last transfer; undefined while it is moving */
  #result: bigint | undefined = BROKEN;
  /** the front-end's question, which is answered when the result is known */
  #reply: ((value: bigint) => void) | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Begins a transfer and takes over its channel. @returns the payload of the reply */
  begin(transfer: Transfer): bigint {
    this.#finish(BROKEN);
    this.#result = undefined;
    try {
      this.#channel = this.#open(transfer);
      return ACCEPTED;
    } catch (error) {
      closeAll([transfer.fd]);
      this.#end(transfer.direction === Direction.load ? 'loaded' : 'saved', error);
      return REFUSED;
    }
  }

  /** Calls `reply` with the result of the last transfer once it is known. */
  check(reply: (value: bigint) => void): void {
    this.#answer(BROKEN);
    this.#reply = reply;
    // the front-end has closed the channel, but its event may not have been handled
    this.#channel?.move();
    if (this.#result !== undefined) this.#answer(this.#result);
  }

  [Symbol.dispose](): void {
    this.#reply = undefined;
    this.#finish(BROKEN);
  }

  #open({ direction, phase, fd, isRunning }: Transfer): StateChannel {
    const { loop, device, onLoaded } = this.#options;
    const { save, load } = device;
    if (save === undefined || load === undefined) throw new Error('the device has none');
    if (phase !== PHASE_STOPPED) throw new Error(`phase ${phase} of a migration is not known`);
    if (isRunning) throw new Error('the device is running');
    if (direction === Direction.save) {
      const state = device.save?.() ?? new Uint8Array();
      return writeState(loop, fd, { state, onEnd: (failure) => this.#end('saved', failure) });
    }
    if (direction !== Direction.load) throw new Error(`direction ${direction} is not known`);
    const onState = (state: Uint8Array): void => {
      device.load?.(state);
      onLoaded();
    };
    return readState(loop, fd, { onState, onEnd: (failure) => this.#end('loaded', failure) });
  }

  #end(what: 'saved' | 'loaded', failure: unknown): void {
    if (failure !== undefined)
      this.#options.log.error(`the device's state cannot be ${what}: ${reasonOf(failure)}`);
    this.#finish(failure === undefined ? GOOD : BROKEN);
  }

  #finish(result: bigint): void {
    this.#channel?.close();
    this.#channel = undefined;
    this.#result = result;
    this.#answer(result);
  }

  #answer(value: bigint): void {
    const reply = this.#reply;
    this.#reply = undefined;
    reply?.(value);
  }
}
