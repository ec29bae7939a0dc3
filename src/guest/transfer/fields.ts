/** Encodes a 32-bit number. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Encodes a 64-bit number. */
export function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** Encodes a `string` (RFC 4251, 5). */
export function string(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([uint32(bytes.length), bytes]);
}

/** Reader of the fields of a packet. Each read throws RangeError beyond the end. */
export interface FieldReader {
  readonly uint32: () => number;
  readonly string: () => Buffer;
  readonly skip: (count: number) => void;
}

/** Creates a reader. */
export function readFields(bytes: Buffer): FieldReader {
  let at = 0;
  const take = (count: number): Buffer => {
    if (count > bytes.length - at) throw new RangeError('a packet is shorter than its fields');
    at += count;
    return bytes.subarray(at - count, at);
  };
  const reader: FieldReader = {
    uint32: () => take(4).readUInt32BE(),
    string: () => take(reader.uint32()),
    skip: (count) => void take(count),
  };
  return reader;
}
