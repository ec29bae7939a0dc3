import { Opcode } from './opcodes.ts';
import type { Request } from './request.ts';
import { WriteOut } from './structures.ts';

/** Names of the counters, in their order in memory. */
const NAMES = ['requests', 'read_ops', 'read_bytes', 'write_ops', 'write_bytes'] as const;

type Counts = Readonly<Record<(typeof NAMES)[number], number>>;

/**
 * Counts of the requests that a device has finished since its start: of all, and of READ and WRITE with the bytes that were moved.
 * They are in memory that threads share, so that the main thread reads them at any time.
 */
export class RequestCounters {
  /** the memory, for the constructor in another thread */
  readonly memory: SharedArrayBuffer;
  readonly #counts: Float64Array;

  constructor(memory = new SharedArrayBuffer(NAMES.length * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#counts = new Float64Array(memory);
  }

  /** Counts a request and its outcome: the bytes of its reply, or a negative error. */
  count({ opcode, outputView }: Request, outcome: number): void {
    this.#add('requests', 1);
    if (opcode === Opcode.Read) {
      this.#add('read_ops', 1);
      this.#add('read_bytes', Math.max(0, outcome));
    } else if (opcode === Opcode.Write) {
      this.#add('write_ops', 1);
      if (outcome > 0) this.#add('write_bytes', outputView.getUint32(WriteOut.size, true));
    }
  }

  /** Returns the counts by name. */
  read(): Counts {
    const [requests = 0, read_ops = 0, read_bytes = 0, write_ops = 0, write_bytes = 0] = this.#counts;
    return { requests, read_ops, read_bytes, write_ops, write_bytes };
  }

  #add(name: (typeof NAMES)[number], count: number): void {
    const at = NAMES.indexOf(name);
    this.#counts[at] = (this.#counts[at] ?? 0) + count;
  }
}
