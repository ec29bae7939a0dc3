/** State that is not in the form in which `save` writes it. */
export class StateError extends Error {}

/** Appends numbers and bytes to a buffer that grows; numbers are little-endian. */
export class StateWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #size = 0;

  /** `expected` is the size that is likely, in bytes. */
  constructor(expected: number) {
    this.#bytes = new Uint8Array(Math.max(expected, 16));
    this.#view = new DataView(this.#bytes.buffer);
  }

  u8(value: number): void {
    const at = this.#reserve(1);
    this.#view.setUint8(at, value);
  }

  u32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: bigint): void {
    const at = this.#reserve(8);
    this.#view.setBigUint64(at, value, true);
  }

  f64(value: number): void {
    const at = this.#reserve(8);
    this.#view.setFloat64(at, value, true);
  }

  bytes(value: Uint8Array): void {
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
  }

  /** Returns all that was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#size);
  }

  /** Makes space. The buffer and its view may be others afterwards. */
  #reserve(bytes: number): number {
    const at = this.#size;
    this.#size += bytes;
    if (this.#size > this.#bytes.length) {
      const longer = new Uint8Array(Math.max(this.#bytes.length * 2, this.#size));
      longer.set(this.#bytes);
      this.#bytes = longer;
      this.#view = new DataView(longer.buffer);
    }
    return at;
  }
}

/** Reads what a {@link StateWriter} has written; a method throws a StateError where the bytes end. */
export class StateReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  u32(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#skip(8), true);
  }

  f64(): number {
    return this.#view.getFloat64(this.#skip(8), true);
  }

  /** Returns a view of the next bytes. */
  bytes(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.subarray(at, at + length);
  }

  #skip(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#bytes.length - at) throw new StateError('the state is cut off');
    this.#at += bytes;
    return at;
  }
}
