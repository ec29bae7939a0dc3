import type { Log } from '../../util/log.ts';
import type { EventLoop, Watch } from '../event-loop.ts';
import { closeAll } from '../../native/descriptor-passing.ts';
import { EPOLLIN } from '../../native/epoll.ts';
import { libc } from '../../native/libc.ts';
import type { Device } from './device.ts';
import { MAX_REGIONS } from './guest-memory.ts';
import {
  decodeConfigRange,
  decodeLogArea,
  decodeMemoryTable,
  decodeRingAddresses,
  decodeSingleRegion,
  decodeState,
  decodeTransfer,
  decodeU64,
  encodeReply,
  encodeState,
  encodeU64,
  ProtocolError,
  ProtocolFeature,
  Request,
} from './message.ts';
import { MessageSocket, type Message } from './message-socket.ts';
import { bit, canMigrate, Rings } from './rings.ts';
import { StateTransfer } from './state-transfer.ts';

/*
 * The vhost-user back-end of a device: `sessions.ts` opens connections, `message-socket.ts` splits one into messages
 * (`message.ts`), and a session answers them. `rings.ts` starts and stops the device (`device.ts`) with its rings (`vring.ts`).
 * `virtqueue.ts` pops descriptor chains (`descriptor-chain.ts`) from a ring in guest memory (`guest-memory.ts`), and marks its writes
 * to guest memory in the log of a live migration (`dirty-log.ts`). Guest memory is mapped (`mapped-ring.ts`), or that of QEMU's process
 * after a restore (`process-memory.ts`, `process-ring.ts`); `transfer.ts` reads and writes files and sockets with buffers of both kinds. `state-transfer.ts` saves and loads the state of the device, through
 * a channel (`state-channel.ts`).
 *
 * Invariants: the front-end and the guest are not trusted. A front-end that breaks the protocol loses its connection, and a guest
 * that breaks the rules of a ring loses its device until a reset. Guest memory is only accessed through a mapping that was checked
 * against its file, or by system calls that fail where it is not mapped. A received descriptor is closed unless the request that it belongs to keeps it.
 */

/** Features of the protocol, which are offered for every device. */
const PROTOCOL_FEATURES =
  bit(ProtocolFeature.Mq) |
  bit(ProtocolFeature.ReplyAck) |
  bit(ProtocolFeature.ResetDevice) |
  bit(ProtocolFeature.ConfigureMemSlots);

/** Features of the protocol by which the front-end migrates a device. */
const MIGRATION_FEATURES = bit(ProtocolFeature.LogShmfd) | bit(ProtocolFeature.DeviceState);

/** In the payload of SET_VRING_KICK and _CALL: the ring's index, and a flag: there is no descriptor. */
const VRING_INDEX_MASK = 0xffn;
const VRING_NO_FD = 0x100n;

interface Options {
  /** the connection, which the session closes */
  readonly fd: number;
  readonly loop: EventLoop;
  readonly device: Device;
  readonly log: Log;
  /** the front-end's device is new, but the guest's driver is not, and its rings continue where they are; default: false */
  readonly continuesRings?: boolean;
  /** called once, when the front-end has closed the connection or has broken the protocol */
  readonly onEnd: () => void;
}

/** The back-end's side of one vhost-user connection, from the front-end's first message to its last. */
export class Session {
  readonly #log: Log;
  readonly #loop: EventLoop;
  readonly #device: Device;
  readonly #fd: number;
  readonly #socket: MessageSocket;
  readonly #watch: Watch;
  readonly #rings: Rings;
  readonly #state: StateTransfer;
  readonly #onEnd: () => void;
  #ended = false;
  #handsOver = false;

  constructor({ fd, loop, device, log, continuesRings = false, onEnd }: Options) {
    this.#log = log;
    this.#fd = fd;
    this.#loop = loop;
    this.#device = device;
    this.#onEnd = onEnd;
    this.#socket = new MessageSocket(fd);
    this.#rings = new Rings({ loop, device, log, continuesRings });
    const onLoaded = (): void => this.#rings.continueLoaded();
    this.#state = new StateTransfer({ loop, device, log, onLoaded });
    this.#watch = loop.watch(fd, EPOLLIN, () => this.#receive());
  }

  /** Another session continues: the device keeps the guest's state when this one ends. */
  handOver(): void {
    this.#handsOver = true;
  }

  [Symbol.dispose](): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#rings.stop();
    if (!this.#handsOver) this.#device.reset();
    this.#watch.stop();
    this.#state[Symbol.dispose]();
    this.#rings.close();
    this.#socket[Symbol.dispose]();
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
      this.#log.warn(`the connection is closed: ${error instanceof Error ? error.message : String(error)}`);
    }
    this[Symbol.dispose]();
    this.#onEnd();
  }

  /** Answers a message; descriptors that the request does not keep are closed. */
  #handle(message: Message): void {
    if (message.request === Request.CheckDeviceState) return this.#checkState(message);
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

  /** @returns the payload of the reply, where the request has one; kept descriptors are removed from `fds` */
  #answer(message: Message, fds: number[]): Uint8Array | undefined {
    const { request, payload } = message;
    switch (request) {
      case Request.GetFeatures:
        return encodeU64(this.#rings.offered);
      case Request.GetProtocolFeatures:
        return encodeU64(this.#protocolFeatures);
      case Request.GetQueueNum:
        return encodeU64(BigInt(this.#rings.count));
      case Request.GetMaxMemSlots:
        return encodeU64(BigInt(MAX_REGIONS));
      case Request.GetConfig:
        return this.#config(payload);
      case Request.GetVringBase:
        return this.#stopRing(decodeState(payload).index);
      case Request.SetLogBase:
        this.#rings.setLogArea(at(fds, 0), decodeLogArea(payload));
        return encodeU64(0n);
      case Request.SetDeviceStateFd:
        return encodeU64(this.#beginTransfer(payload, fds));
      default:
        this.#set(message, fds);
        return undefined;
    }
  }

  #set({ request, payload, sender }: Omit<Message, 'fds'>, fds: number[]): void {
    switch (request) {
      case Request.SetOwner:
      case Request.ResetOwner:
      case Request.SetProtocolFeatures:
      case Request.SetVringErr:
        return;
      case Request.SetFeatures:
        return this.#rings.setFeatures(decodeU64(payload));
      case Request.SetMemTable:
      case Request.AddMemReg:
      case Request.RemMemReg:
        return this.#changeMemory({ request, payload, sender }, fds);
      case Request.ResetDevice:
        return this.#rings.resetDevice();
      case Request.SetLogFd:
        return this.#rings.setLogModified(takeFirst(fds));
      default:
        return this.#setRing(request, payload, fds);
    }
  }

  #setRing(request: number, payload: DataView, fds: number[]): void {
    switch (request) {
      case Request.SetVringNum: {
        const { index, value } = decodeState(payload);
        return this.#rings.change(index, (vring) => (vring.size = value));
      }
      case Request.SetVringBase: {
        const { index, value } = decodeState(payload);
        return this.#rings.change(index, (vring) => (vring.base = value));
      }
      case Request.SetVringAddr: {
        const { index, ...addresses } = decodeRingAddresses(payload);
        return this.#rings.setAddresses(index, addresses);
      }
      case Request.SetVringEnable: {
        const { index, value } = decodeState(payload);
        return this.#rings.change(index, (vring) => (vring.enabled = value !== 0));
      }
      case Request.SetVringKick: {
        const index = this.#indexOf(payload);
        const fd = takeFd(payload, fds);
        return this.#rings.change(index, (vring) =>
          vring.setKick(fd, this.#loop, () => this.#device.kicked(index)),
        );
      }
      case Request.SetVringCall: {
        // changes while the queue runs: QEMU masks interrupts in this way
        return this.#rings.get(this.#indexOf(payload)).setCall(takeFd(payload, fds));
      }
      default:
        throw new ProtocolError(`request ${request} is not known`);
    }
  }

  #changeMemory(
    { request, payload, sender }: Pick<Message, 'request' | 'payload' | 'sender'>,
    fds: readonly number[],
  ): void {
    this.#rings.changeMemory((memory) => {
      if (request === Request.RemMemReg) return memory.remove(decodeSingleRegion(payload));
      const isTable = request === Request.SetMemTable;
      const regions = isTable ? decodeMemoryTable(payload) : [decodeSingleRegion(payload)];
      if (isTable) memory.clear();
      for (const [i, region] of regions.entries()) memory.add(region, at(fds, i), sender);
    });
  }

  #beginTransfer(payload: DataView, fds: number[]): bigint {
    const { isRunning } = this.#rings;
    return this.#state.begin({ ...decodeTransfer(payload), fd: takeFirst(fds), isRunning });
  }

  /** The reply may have to wait for the end of a transfer; further messages are answered meanwhile. */
  #checkState({ request, fds }: Message): void {
    closeAll(fds);
    this.#state.check((value) => this.#socket.reply(encodeReply(request, encodeU64(value))));
  }

  #stopRing(index: number): Uint8Array {
    return encodeState(index, this.#rings.stopRing(index));
  }

  #config(payload: DataView): Uint8Array {
    const { offset, size } = decodeConfigRange(payload);
    const config = this.#device.config?.();
    if (config === undefined) throw new ProtocolError('the device has no configuration space');
    const reply = new Uint8Array(12 + size);
    reply.set(new Uint8Array(payload.buffer, payload.byteOffset, 12));
    reply.set(config.subarray(offset, offset + size), 12);
    return reply;
  }

  get #protocolFeatures(): bigint {
    const config = this.#device.config === undefined ? 0n : bit(ProtocolFeature.Config);
    return PROTOCOL_FEATURES | config | (canMigrate(this.#device) ? MIGRATION_FEATURES : 0n);
  }

  /** Returns the ring's index, which is checked before the descriptor of the request is taken. */
  #indexOf(payload: DataView): number {
    const index = Number(decodeU64(payload) & VRING_INDEX_MASK);
    this.#rings.get(index);
    return index;
  }
}

function takeFd(payload: DataView, fds: number[]): number {
  return (decodeU64(payload) & VRING_NO_FD) === 0n ? takeFirst(fds) : -1;
}

/** Takes the first descriptor of a request, which keeps it. */
function takeFirst(fds: number[]): number {
  const fd = fds.shift();
  if (fd === undefined) throw new ProtocolError('a descriptor is missing');
  return fd;
}

function at(fds: readonly number[], index: number): number {
  const fd = fds[index];
  if (fd === undefined) throw new ProtocolError('a descriptor is missing');
  return fd;
}
