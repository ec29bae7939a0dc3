/** Requests that the relay handles itself (vhost-user specification, front-end message types). */
export const Request = {
  GetFeatures: 1,
  SetFeatures: 2,
  ResetOwner: 4,
  SetVringEnable: 18,
  ResetDevice: 34,
} as const;

/** Feature bit by which both sides agree on protocol features, and on enabling each ring. */
export const PROTOCOL_FEATURES = 1n << 30n;

/** Bits of a message's flags: the version, a reply, the front-end waits for a reply even where the request has none. */
const VERSION = 1;
const REPLY = 4;
const NEED_REPLY = 8;

/** Bytes before the payload: request, flags, size. */
export const HEADER_BYTES = 12;

/** No payload is larger: the limit of rust-vmm's `vhost`. */
export const MAX_PAYLOAD_BYTES = 4096;

/** No message has more descriptors: the limit of rust-vmm's `vhost`. QEMU sends 8 at most. */
export const MAX_DESCRIPTORS = 32;

/** A message with its descriptors, which belong to the function that takes the message. */
export interface Message {
  readonly request: number;
  readonly flags: number;
  readonly payload: Buffer;
  readonly fds: readonly number[];
}

/** Encodes a message. */
export function encode({ request, flags, payload }: Message): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(request, 0);
  header.writeUInt32LE(flags, 4);
  header.writeUInt32LE(payload.length, 8);
  return Buffer.concat([header, payload]);
}

/** Returns whether the front-end waits for an acknowledgement. */
export function needsReply({ flags }: Message): boolean {
  return (flags & NEED_REPLY) !== 0;
}

/** Returns the message without the request for an acknowledgement. */
export function withoutReply(message: Message): Message {
  return { ...message, flags: message.flags & ~NEED_REPLY };
}

/** Makes a request without a payload. */
export function makeRequest(request: number): Message {
  return { request, flags: VERSION, payload: Buffer.alloc(0), fds: [] };
}

/** Makes the acknowledgement of a request. */
export function acknowledge({ request }: Message): Message {
  return { request, flags: VERSION | REPLY, payload: Buffer.alloc(8), fds: [] };
}
