/** The host's CID, the only one that a guest can reach. */
export const HOST_CID = 2;

/** Bytes of the header before each packet's data (virtio 1.1, section 5.10.6). */
export const HEADER_BYTES = 44;

/** The only socket type of this device. */
export const TYPE_STREAM = 1;

/** Operation of a packet. */
export const Op = {
  Request: 1,
  Response: 2,
  Reset: 3,
  Shutdown: 4,
  Data: 5,
  CreditUpdate: 6,
  CreditRequest: 7,
} as const;

/** Flags of a Shutdown: the directions that its sender shuts down. */
export const Shut = { Receive: 1, Send: 2, Both: 3 } as const;

/** A packet's header; reused for the next packet. */
export interface Header {
  sourceCid: number;
  targetCid: number;
  sourcePort: number;
  targetPort: number;
  /** bytes of data behind the header */
  length: number;
  type: number;
  op: number;
  flags: number;
  /** size of the sender's buffer (`buf_alloc`), in `bytes` */
  window: number;
  /** bytes that have left the sender's buffer since the start (`fwd_cnt`), modulo 2^32 */
  forwarded: number;
}

/** Creates an empty header. */
export function emptyHeader(): Header {
  return {
    sourceCid: 0,
    targetCid: 0,
    sourcePort: 0,
    targetPort: 0,
    length: 0,
    type: 0,
    op: 0,
    flags: 0,
    window: 0,
    forwarded: 0,
  };
}

/** Decodes a header into an existing one. CIDs beyond 32 bits match no device. */
export function decodeHeader(view: DataView, header: Header): void {
  header.sourceCid = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  header.targetCid = view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32;
  header.sourcePort = view.getUint32(16, true);
  header.targetPort = view.getUint32(20, true);
  header.length = view.getUint32(24, true);
  header.type = view.getUint16(28, true);
  header.op = view.getUint16(30, true);
  header.flags = view.getUint32(32, true);
  header.window = view.getUint32(36, true);
  header.forwarded = view.getUint32(40, true);
}

/** Encodes a header. */
export function encodeHeader(view: DataView, header: Header): void {
  view.setUint32(0, header.sourceCid >>> 0, true);
  view.setUint32(4, Math.floor(header.sourceCid / 2 ** 32), true);
  view.setUint32(8, header.targetCid >>> 0, true);
  view.setUint32(12, Math.floor(header.targetCid / 2 ** 32), true);
  view.setUint32(16, header.sourcePort, true);
  view.setUint32(20, header.targetPort, true);
  encodeLength(view, header.length);
  view.setUint16(28, header.type, true);
  view.setUint16(30, header.op, true);
  view.setUint32(32, header.flags, true);
  view.setUint32(36, header.window, true);
  view.setUint32(40, header.forwarded, true);
}

/** Changes the length of an encoded header. */
export function encodeLength(view: DataView, length: number): void {
  view.setUint32(24, length, true);
}
