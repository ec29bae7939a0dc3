/**
 * Who may send how much on one connection (virtio 1.1, section 5.10.6.3). Each side tells the size of its room and
 * how much has left it; what was sent and has not left is in it. Counters wrap at 2^32.
 */
export class Credit {
  /** our room for what the guest sends, in `bytes` */
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

  /** how much has left our room, modulo 2^32 */
  get forwarded(): number {
    return this.#forwarded;
  }

  /** bytes that the guest has room for now */
  get sendable(): number {
    const inFlight = (this.#sent - this.#guestForwarded) >>> 0;
    return Math.max(0, this.#guestWindow - inFlight);
  }

  /** Counts data from the guest. @returns false where the guest sent more than there was room for */
  receive(bytes: number): boolean {
    this.#received = (this.#received + bytes) >>> 0;
    return (this.#received - this.#forwarded) >>> 0 <= this.window;
  }

  /** Counts data that left our room. */
  forward(bytes: number): void {
    this.#forwarded = (this.#forwarded + bytes) >>> 0;
  }

  /** Counts data for the guest. */
  send(bytes: number): void {
    this.#sent = (this.#sent + bytes) >>> 0;
  }

  /** Takes what the guest says about its room, in any packet. */
  learn(window: number, forwarded: number): void {
    this.#guestWindow = window;
    this.#guestForwarded = forwarded;
  }

  /** Notes that the guest is told about our room, in any packet. */
  announce(): void {
    this.#announced = this.#forwarded;
  }

  /** the guest should be told, before it has to wait: a quarter of the room is free again and it does not know */
  get isStale(): boolean {
    return (this.#forwarded - this.#announced) >>> 0 >= this.window / 4;
  }
}
