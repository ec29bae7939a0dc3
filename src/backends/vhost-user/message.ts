/** Requests of the front-end that this back-end implements (vhost-user specification, front-end message types). */
export const Request = {
  GetFeatures: 1,
  SetFeatures: 2,
  SetOwner: 3,
  ResetOwner: 4,
  SetMemTable: 5,
  SetLogBase: 6,
  SetLogFd: 7,
  SetVringNum: 8,
  SetVringAddr: 9,
  SetVringBase: 10,
  GetVringBase: 11,
  SetVringKick: 12,
  SetVringCall: 13,
  SetVringErr: 14,
  GetProtocolFeatures: 15,
  SetProtocolFeatures: 16,
  GetQueueNum: 17,
  SetVringEnable: 18,
  GetConfig: 24,
  SetConfig: 25,
  ResetDevice: 34,
  GetMaxMemSlots: 36,
  AddMemReg: 37,
  RemMemReg: 38,
  SetDeviceStateFd: 42,
  CheckDeviceState: 43,
} as const;

/** Bits of GET_PROTOCOL_FEATURES. */
export const ProtocolFeature = {
  Mq: 0n,
  LogShmfd: 1n,
  ReplyAck: 3n,
  Config: 9n,
  ResetDevice: 13n,
  ConfigureMemSlots: 15n,
  DeviceState: 19n,
} as const;

/** Feature bits of the rings, common to all devices. */
export const RingFeature = {
  /** VHOST_F_LOG_ALL: writes to guest memory are logged; never a feature of the guest's driver */
  LogAll: 26n,
  IndirectDescriptors: 28n,
  EventIndex: 29n,
  ProtocolFeatures: 30n,
  Version1: 32n,
} as const;

/** Bytes of a message before its payload: request, flags, size. */
export const HEADER_BYTES = 12;

/** No payload of a known request is larger. */
export const MAX_PAYLOAD_BYTES = 4096;

const VERSION = 1;
const VERSION_MASK = 3;
const REPLY_FLAG = 4;
const NEED_REPLY_FLAG = 8;

/** The fixed part of a message. */
export interface Header {
  readonly request: number;
  /** the front-end waits for a reply even where the request has none */
  readonly needsReply: boolean;
  /** bytes of payload */
  readonly size: number;
}

/** A violation of the protocol by the front-end; the connection is closed. */
export class ProtocolError extends Error {}

/** Reads a header. */
export function decodeHeader(view: DataView): Header {
  const flags = view.getUint32(4, true);
  const size = view.getUint32(8, true);
  if ((flags & VERSION_MASK) !== VERSION)
    throw new ProtocolError(`message of version ${flags & VERSION_MASK}`);
  if (size > MAX_PAYLOAD_BYTES) throw new ProtocolError(`message of ${size} bytes`);
  return { request: view.getUint32(0, true), needsReply: (flags & NEED_REPLY_FLAG) !== 0, size };
}

/** Encodes a reply with its payload. */
export function encodeReply(request: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, request, true);
  view.setUint32(4, VERSION | REPLY_FLAG, true);
  view.setUint32(8, payload.length, true);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** Encodes a payload of one 64-bit number. */
export function encodeU64(value: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, value, true);
  return new Uint8Array(view.buffer);
}

/** Encodes a payload of two 32-bit numbers: a ring's index and a value of it. */
export function encodeState(index: number, value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(0, index, true);
  view.setUint32(4, value, true);
  return new Uint8Array(view.buffer);
}

/** A region of guest memory, as the front-end describes it. */
export interface RegionMessage {
  readonly guestAddress: number;
  readonly size: number;
  /** its address in the front-end, in whose terms ring addresses are */
  readonly userAddress: number;
  /** its start in the file */
  readonly offset: number;
}

const REGION_BYTES = 32;

/** Decodes the payload of SET_MEM_TABLE. */
export function decodeMemoryTable(payload: DataView): RegionMessage[] {
  need(payload, 8);
  const count = payload.getUint32(0, true);
  if (count > 8) throw new ProtocolError(`memory table of ${count} regions`);
  need(payload, 8 + count * REGION_BYTES);
  return Array.from({ length: count }, (_, i) => decodeRegion(payload, 8 + i * REGION_BYTES));
}

/** Decodes the payload of ADD_MEM_REG and REM_MEM_REG. */
export function decodeSingleRegion(payload: DataView): RegionMessage {
  need(payload, 8 + REGION_BYTES);
  return decodeRegion(payload, 8);
}

function decodeRegion(payload: DataView, at: number): RegionMessage {
  return {
    guestAddress: safe(payload.getBigUint64(at, true)),
    size: safe(payload.getBigUint64(at + 8, true)),
    userAddress: safe(payload.getBigUint64(at + 16, true)),
    offset: safe(payload.getBigUint64(at + 24, true)),
  };
}

/** Addresses of the parts of a ring, in the front-end's address space. */
export interface RingAddresses {
  readonly descriptors: number;
  readonly used: number;
  readonly available: number;
  /** guest address of the used ring, for the dirty log; undefined: writes to the used ring are not logged */
  readonly loggedUsed?: number | undefined;
}

/** VHOST_VRING_F_LOG in the flags of SET_VRING_ADDR. */
const LOG_USED_RING = 1;

/** Decodes the payload of SET_VRING_ADDR. */
export function decodeRingAddresses(payload: DataView): RingAddresses & { readonly index: number } {
  need(payload, 40);
  return {
    index: payload.getUint32(0, true),
    descriptors: safe(payload.getBigUint64(8, true)),
    used: safe(payload.getBigUint64(16, true)),
    available: safe(payload.getBigUint64(24, true)),
    loggedUsed:
      (payload.getUint32(4, true) & LOG_USED_RING) === 0 ? undefined : safe(payload.getBigUint64(32, true)),
  };
}

/** Part of a file that holds the dirty log, in `bytes`. */
export interface LogArea {
  readonly size: number;
  readonly offset: number;
}

/** Decodes the payload of SET_LOG_BASE. */
export function decodeLogArea(payload: DataView): LogArea {
  need(payload, 16);
  return { size: safe(payload.getBigUint64(0, true)), offset: safe(payload.getBigUint64(8, true)) };
}

/** Direction of a transfer of the device's state: from the back-end, or to it. */
export const Direction = { save: 0, load: 1 } as const;

/** Only phase of a migration in which the state is transferred: guest and device are stopped. */
export const PHASE_STOPPED = 0;

/** Decodes the payload of SET_DEVICE_STATE_FD. */
export function decodeTransfer(payload: DataView): { readonly direction: number; readonly phase: number } {
  need(payload, 8);
  return { direction: payload.getUint32(0, true), phase: payload.getUint32(4, true) };
}

/** Decodes the payload of two 32-bit numbers. */
export function decodeState(payload: DataView): { readonly index: number; readonly value: number } {
  need(payload, 8);
  return { index: payload.getUint32(0, true), value: payload.getUint32(4, true) };
}

/** Decodes the payload of one 64-bit number. */
export function decodeU64(payload: DataView): bigint {
  need(payload, 8);
  return payload.getBigUint64(0, true);
}

/** Decodes the payload of GET_CONFIG and SET_CONFIG: a part of the device's configuration space. */
export function decodeConfigRange(payload: DataView): { readonly offset: number; readonly size: number } {
  need(payload, 12);
  const range = { offset: payload.getUint32(0, true), size: payload.getUint32(4, true) };
  need(payload, 12 + range.size);
  return range;
}

function need(payload: DataView, bytes: number): void {
  if (payload.byteLength < bytes) {
    throw new ProtocolError(`payload of ${payload.byteLength} bytes, ${bytes} are needed`);
  }
}

/** Converts an address or size to a number; no valid one needs more than 53 bits. */
function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolError(`address ${value.toString(16)}`);
  return Number(value);
}
