import type { Log } from '../../util/log.ts';
import type { EventLoop, Watch } from '../event-loop.ts';
import { closeAll } from '../../native/descriptor-passing.ts';
import { EPOLLIN } from '../../native/epoll.ts';
import { libc } from '../../native/libc.ts';
import { QueueError } from './descriptor-chain.ts';
import type { Device, RunningQueue } from './device.ts';
import { GuestMemory, MAX_REGIONS } from './guest-memory.ts';
import {
  decodeConfigRange,
  decodeMemoryTable,
  decodeRingAddresses,
  decodeSingleRegion,
  decodeState,
  decodeU64,
  encodeReply,
  encodeState,
  encodeU64,
  ProtocolError,
  ProtocolFeature,
  Request,
  RingFeature,
} from './message.ts';
import { MessageSocket, type Message } from './message-socket.ts';
import { Vring } from './vring.ts';

const bit = (index: bigint): bigint => 1n << index;

const RING_FEATURES =
  bit(RingFeature.Version1) |
  bit(RingFeature.EventIndex) |
  bit(RingFeature.IndirectDescriptors) |
  bit(RingFeature.ProtocolFeatures);

const PROTOCOL_FEATURES =
  bit(ProtocolFeature.Mq) |
  bit(ProtocolFeature.ReplyAck) |
  bit(ProtocolFeature.Config) |
  bit(ProtocolFeature.ResetDevice) |
  bit(ProtocolFeature.ConfigureMemSlots);

/** In the payload of SET_VRING_KICK and _CALL: the ring's index, and that no descriptor comes with it. */
const VRING_INDEX_MASK = 0xffn;
const VRING_NO_FD = 0x100n;

interface Options {
  /** the connection; it is the session's from now on */
  readonly fd: number;
  readonly loop: EventLoop;
  readonly device: Device;
  readonly log: Log;
  /** the front-end's device is new, but the guest's driver is not, and its rings go on where they are; false unless given */
  readonly continuesRings?: boolean;
  /** called once, when the front-end is gone or has broken the protocol */
  readonly onEnd: () => void;
}

/** The end of a vhost-user connection at which the device is: from the front-end's first message to its last. */
export class Session {
  readonly #log: Log;
  readonly #loop: EventLoop;
  readonly #device: Device;
  readonly #fd: number;
  readonly #socket: MessageSocket;
  readonly #watch: Watch;
  readonly #memory = new GuestMemory();
  readonly #vrings: readonly Vring[];
  readonly #onEnd: () => void;
  #carriesOn: boolean;
  #features = 0n;
  #running = false;
  #ended = false;
  #handsOver = false;

  constructor({ fd, loop, device, log, continuesRings = false, onEnd }: Options) {
    this.#log = log;
    this.#fd = fd;
    this.#loop = loop;
    this.#device = device;
    this.#onEnd = onEnd;
    this.#carriesOn = continuesRings;
    this.#socket = new MessageSocket(fd);
    this.#vrings = Array.from({ length: device.queues }, () => new Vring());
    this.#watch = loop.watch(fd, EPOLLIN, () => this.#receive());
  }

  /** Another session carries on: the end of this one is not the end of what the guest had. */
  handOver(): void {
    this.#handsOver = true;
  }

  [Symbol.dispose](): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stop();
    if (!this.#handsOver) this.#device.reset();
    this.#watch.stop();
    for (const vring of this.#vrings) vring.close(this.#loop);
    this.#socket[Symbol.dispose]();
    this.#memory.clear();
    libc().close(this.#fd);
  }

  #receive(): void {
    try {
      for (;;) {
        const message = this.#socket.receive();
        if (message === 'nothing') return;
        if (message === 'end') break;
        this.#handle(message);
      }
    } catch (error) {
      this.#log.warn(`the connection is given up: ${error instanceof Error ? error.message : String(error)}`);
    }
    this[Symbol.dispose]();
    this.#onEnd();
  }

  /** Descriptors that nobody has taken when the message is done are closed. */
  #handle(message: Message): void {
    const fds = [...message.fds];
    let reply: Uint8Array | undefined;
    try {
      reply = this.#answer(message, fds);
    } catch (error) {
      if (!message.needsReply || !(error instanceof ProtocolError)) throw error;
      this.#log.warn(`request ${message.request}: ${error.message}`);
      return this.#socket.reply(encodeReply(message.request, encodeU64(1n)));
    } finally {
      closeAll(fds);
    }
    if (reply !== undefined) this.#socket.reply(encodeReply(message.request, reply));
    else if (message.needsReply) this.#socket.reply(encodeReply(message.request, encodeU64(0n)));
  }

  /** @returns the payload of the reply, where the request has one; descriptors that are kept are taken out of `fds` */
  #answer(message: Message, fds: number[]): Uint8Array | undefined {
    const { request, payload } = message;
    switch (request) {
      case Request.GetFeatures:
        return encodeU64(RING_FEATURES | this.#device.features);
      case Request.GetProtocolFeatures:
        return encodeU64(PROTOCOL_FEATURES);
      case Request.GetQueueNum:
        return encodeU64(BigInt(this.#vrings.length));
      case Request.GetMaxMemSlots:
        return encodeU64(BigInt(MAX_REGIONS));
      case Request.GetConfig:
        return this.#config(payload);
      case Request.GetVringBase:
        return this.#stopRing(decodeState(payload).index);
      default:
        this.#set(message, fds);
        return undefined;
    }
  }

  #set({ request, payload }: Message, fds: number[]): void {
    switch (request) {
      case Request.SetOwner:
      case Request.ResetOwner:
      case Request.SetProtocolFeatures:
      case Request.SetVringErr:
        return;
      case Request.SetFeatures:
        return this.#setFeatures(decodeU64(payload));
      case Request.SetMemTable:
      case Request.AddMemReg:
      case Request.RemMemReg:
        return this.#changeMemory(request, payload, fds);
      case Request.ResetDevice:
        // the front-end's device is reset when it is made: not by the driver, which has its streams
        if (this.#carriesOn) return;
        this.#stop();
        return this.#device.reset();
      default:
        return this.#setRing(request, payload, fds);
    }
  }

  #setRing(request: number, payload: DataView, fds: number[]): void {
    switch (request) {
      case Request.SetVringNum: {
        const { index, value } = decodeState(payload);
        return this.#change(index, (vring) => (vring.size = value));
      }
      case Request.SetVringBase: {
        const { index, value } = decodeState(payload);
        return this.#change(index, (vring) => (vring.base = value));
      }
      case Request.SetVringAddr: {
        const { index, ...addresses } = decodeRingAddresses(payload);
        return this.#change(index, (vring) => (vring.addresses = addresses));
      }
      case Request.SetVringEnable: {
        const { index, value } = decodeState(payload);
        return this.#change(index, (vring) => (vring.enabled = value !== 0));
      }
      case Request.SetVringKick: {
        const index = this.#indexOf(payload);
        const fd = takeFd(payload, fds);
        return this.#change(index, (vring) =>
          vring.setKick(fd, this.#loop, () => this.#device.kicked(index)),
        );
      }
      case Request.SetVringCall: {
        // changes while the queue runs: QEMU masks interrupts in this way
        return this.#vring(this.#indexOf(payload)).setCall(takeFd(payload, fds));
      }
      default:
        throw new ProtocolError(`request ${request} is not known`);
    }
  }

  #setFeatures(features: bigint): void {
    const unknown = features & ~(RING_FEATURES | this.#device.features);
    if (unknown !== 0n) throw new ProtocolError(`features ${unknown.toString(16)} were not offered`);
    this.#stop();
    this.#features = features;
    if (!this.#has(RingFeature.ProtocolFeatures)) for (const vring of this.#vrings) vring.enabled = true;
    this.#startIfReady();
  }

  #changeMemory(request: number, payload: DataView, fds: readonly number[]): void {
    this.#stop();
    if (request === Request.RemMemReg) {
      this.#memory.remove(decodeSingleRegion(payload));
    } else {
      const isTable = request === Request.SetMemTable;
      const regions = isTable ? decodeMemoryTable(payload) : [decodeSingleRegion(payload)];
      if (isTable) this.#memory.clear();
      for (const [i, region] of regions.entries()) this.#memory.add(region, at(fds, i));
    }
    this.#startIfReady();
  }

  #change(index: number, change: (vring: Vring) => void): void {
    this.#stop();
    change(this.#vring(index));
    this.#startIfReady();
  }

  #stopRing(index: number): Uint8Array {
    const vring = this.#vring(index);
    this.#stop();
    vring.setKick(-1, this.#loop, () => undefined);
    return encodeState(index, vring.base);
  }

  #startIfReady(): void {
    const missing = this.#vrings.findIndex((vring) => !vring.ready);
    const used = missing < 0 ? this.#vrings : this.#vrings.slice(0, missing);
    if (used.length < (this.#device.fewest ?? this.#vrings.length)) return;
    const continuesRings = this.#carriesOn;
    this.#carriesOn = false;
    const resumed = continuesRings || used.every((vring) => vring.unchanged);
    const rules = {
      eventIndex: this.#has(RingFeature.EventIndex),
      indirect: this.#has(RingFeature.IndirectDescriptors),
    };
    this.#running = true;
    try {
      const queues: RunningQueue[] = used.map((vring) => vring.start(this.#memory, rules, continuesRings));
      this.#device.start({ queues, memory: this.#memory, resumed });
      // what the guest was told last may have been lost with its old device
      if (continuesRings) for (const { notify } of queues) notify();
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      this.#log.warn(`the guest's rings cannot be used: ${error.message}`);
      this.#stop();
    }
  }

  #stop(): void {
    if (!this.#running) return;
    this.#running = false;
    this.#device.stop();
    for (const vring of this.#vrings) vring.stop();
  }

  #config(payload: DataView): Uint8Array {
    const { offset, size } = decodeConfigRange(payload);
    const config = this.#device.config();
    const reply = new Uint8Array(12 + size);
    reply.set(new Uint8Array(payload.buffer, payload.byteOffset, 12));
    reply.set(config.subarray(offset, offset + size), 12);
    return reply;
  }

  #vring(index: number): Vring {
    const vring = this.#vrings[index];
    if (vring === undefined) throw new ProtocolError(`there is no queue ${index}`);
    return vring;
  }

  /** Checked before the descriptor that comes with it is taken. */
  #indexOf(payload: DataView): number {
    const index = Number(decodeU64(payload) & VRING_INDEX_MASK);
    this.#vring(index);
    return index;
  }

  #has(feature: bigint): boolean {
    return (this.#features & bit(feature)) !== 0n;
  }
}

function takeFd(payload: DataView, fds: number[]): number {
  if ((decodeU64(payload) & VRING_NO_FD) !== 0n) return -1;
  const fd = fds.shift();
  if (fd === undefined) throw new ProtocolError('a descriptor is missing');
  return fd;
}

function at(fds: readonly number[], index: number): number {
  const fd = fds[index];
  if (fd === undefined) throw new ProtocolError('a descriptor is missing');
  return fd;
}
