import type { Negotiated } from './init.ts';
import type { Outcome } from './outcome.ts';

/*
 * State of a device in a snapshot, version 1. Numbers are little-endian, 32 bits each:
 *
 *     magic, version
 *     negotiated: 0 or 1, minor, flags, flags2
 *     number of open requests; for each: queue, head, space, isAnswered, outcome, bytes of input, bytes of output, input, output
 *     bytes of the file system's state, state
 */

const MAGIC = 0x5346_4e4e;
const VERSION = 1;

/** Most open requests: more than all rings have entries. */
const MOST_REQUESTS = 65_536;

/** An open request: one that the file system has not answered, or whose reply is not in the guest's buffers yet. */
export interface OpenRequest {
  readonly queue: number;
  /** descriptor that its chain begins with */
  readonly head: number;
  /** bytes of the guest's buffers for the reply, without its header */
  readonly space: number;
  /** undefined where the file system must be asked again */
  readonly outcome: Outcome | undefined;
  /** header and arguments */
  readonly input: Uint8Array;
  /** the reply without its header; empty where there is none yet */
  readonly output: Uint8Array;
}

export interface DeviceState {
  readonly negotiated: Negotiated | undefined;
  readonly requests: readonly OpenRequest[];
  /** state of the file system, in its own form */
  readonly files: Uint8Array;
}

/** Encodes a state. */
export function encodeState({ negotiated, requests, files }: DeviceState): Uint8Array {
  const { minor = 0, flags = 0, flags2 = 0 } = negotiated ?? {};
  return Buffer.concat([
    words(MAGIC, VERSION, negotiated === undefined ? 0 : 1, minor, flags, flags2, requests.length),
    ...requests.flatMap(encodeRequest),
    words(files.length),
    files,
  ]);
}

/**
 * Decodes a state.
 * @throws where the bytes are invalid, or have a later version
 */
export function decodeState(bytes: Uint8Array): DeviceState {
  const reader = new Reader(bytes);
  if (reader.word() !== MAGIC) throw new Error('the state is not that of a file system device');
  const version = reader.word();
  if (version !== VERSION) throw new Error(`the state of the file system device has version ${version}`);
  const isNegotiated = reader.word() !== 0;
  const negotiated = { minor: reader.word(), flags: reader.word(), flags2: reader.word() };
  const count = reader.word();
  if (count > MOST_REQUESTS) throw new Error(`the state has ${count} open requests`);
  const requests = Array.from({ length: count }, () => decodeRequest(reader));
  const files = reader.bytes(reader.word());
  reader.end();
  return { negotiated: isNegotiated ? negotiated : undefined, requests, files };
}

function encodeRequest({ queue, head, space, outcome, input, output }: OpenRequest): Uint8Array[] {
  const isAnswered = outcome === undefined ? 0 : 1;
  const result = typeof outcome === 'number' ? outcome : NO_REPLY;
  const lengths = [input.length, output.length];
  return [words(queue, head, space, isAnswered, result, ...lengths), input, output];
}

/** An outcome that is neither an error nor a number of bytes. */
const NO_REPLY = -(2 ** 31);

function decodeRequest(reader: Reader): OpenRequest {
  const [queue, head, space] = [reader.word(), reader.word(), reader.word() | 0];
  const isAnswered = reader.word() !== 0;
  const result = reader.word() | 0;
  const [inputBytes, outputBytes] = [reader.word(), reader.word()];
  const outcome = result === NO_REPLY ? 'none' : result;
  return {
    ...{ queue, head, space },
    outcome: isAnswered ? outcome : undefined,
    input: reader.bytes(inputBytes),
    output: reader.bytes(outputBytes),
  };
}

function words(...values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (const [i, value] of values.entries()) view.setUint32(i * 4, value, true);
  return new Uint8Array(view.buffer);
}

/** Reads a state from its start. Throws where too few bytes are left. */
class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  word(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new Error('the state of the file system device is too long');
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) throw new Error('the state of the file system device is cut off');
    this.#at += count;
    return at;
  }
}
