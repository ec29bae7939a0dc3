/**
 * Credit of one connection (virtio 1.1, section 5.10.6.3). Each side announces the size of its buffer (`buf_alloc`) and the number
 * of bytes that have left it (`fwd_cnt`); data that was sent and has not left fills the buffer. Counters wrap at 2^32.
 */
export class Credit {
  /** size of the buffer for the guest's data, in `bytes` */
  readonly window: number;
  #received = 0;
  #forwarded = 0;
  #announced = 0;
  #sent = 0;
  #guestWindow = 0;
  #guestForwarded = 0;

  constructor(window: number) {
    this.window = window;
  }

  /** number of bytes that have left this buffer, modulo 2^32 */
  get forwarded(): number {
    return this.#forwarded;
  }

  /** free bytes of the guest's buffer */
  get sendable(): number {
    const inFlight = (this.#sent - this.#guestForwarded) >>> 0;
    return Math.max(0, this.#guestWindow - inFlight);
  }

  /** Counts data from the guest. @returns false where the guest exceeded its credit */
  receive(bytes: number): boolean {
    this.#received = (this.#received + bytes) >>> 0;
    return (this.#received - this.#forwarded) >>> 0 <= this.window;
  }

  /** Counts data that has left the buffer. */
  forward(bytes: number): void {
    this.#forwarded = (this.#forwarded + bytes) >>> 0;
  }

  /** Counts data for the guest. */
  send(bytes: number): void {
    this.#sent = (this.#sent + bytes) >>> 0;
  }

  /** Stores the guest's announcement, which is part of each packet. */
  update(window: number, forwarded: number): void {
    this.#guestWindow = window;
    this.#guestForwarded = forwarded;
  }

  /** Notes that a packet announces the current credit to the guest. */
  announce(): void {
    this.#announced = this.#forwarded;
  }

  /** a quarter of the buffer has become free since the last announcement: the guest needs an update before it must wait */
  get isStale(): boolean {
    return (this.#forwarded - this.#announced) >>> 0 >= this.window / 4;
  }
}
