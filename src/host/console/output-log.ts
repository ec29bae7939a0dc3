/** Size of a block, in bytes. Blocks are never changed once written, so that viewers get parts of them without a copy. */
const BLOCK_BYTES = 65_536;

/** Output that is always kept, in bytes: a viewer that connects again misses nothing of it. */
export const REPLAY_BYTES = 2 ** 20;

/** Most output that is kept for viewers that read slowly, in bytes. */
export const LAG_BYTES = 16 * 2 ** 20;

/** The newest output of a console, by position: the number of bytes before it since the console was opened. */
export interface OutputLog {
  /** position of the oldest kept byte */
  readonly start: () => number;
  /** position behind the newest byte */
  readonly end: () => number;
  readonly append: (bytes: Uint8Array) => void;
  /** Counts output that the log does not get. Earlier output is no longer kept then: it is not contiguous. */
  readonly skip: (bytes: number) => void;
  /** Returns kept bytes from a position on, as many as are contiguous and at most `most`; empty at the end. They are never changed. */
  readonly read: (position: number, most: number) => Buffer;
  /**
   * Drops whole blocks of the oldest output, but keeps the newest {@link REPLAY_BYTES}, and up to {@link LAG_BYTES} for a viewer whose
   * next byte is at `wanted`.
   */
  readonly trim: (wanted: number) => void;
}

interface Block {
  readonly bytes: Buffer;
  readonly position: number;
  length: number;
}

/** Creates an empty log. Memory is allocated as output arrives. */
export function createOutputLog(): OutputLog {
  const blocks: Block[] = [];
  let end = 0;
  const start = (): number => blocks[0]?.position ?? end;
  const blockWithSpace = (): Block => {
    const last = blocks.at(-1);
    if (last !== undefined && last.length < BLOCK_BYTES) return last;
    const block = { bytes: Buffer.allocUnsafeSlow(BLOCK_BYTES), position: end, length: 0 };
    blocks.push(block);
    return block;
  };
  return {
    start,
    end: () => end,
    append: (bytes) => {
      let rest = bytes;
      while (rest.length > 0) {
        const block = blockWithSpace();
        const part = rest.subarray(0, BLOCK_BYTES - block.length);
        block.bytes.set(part, block.length);
        block.length += part.length;
        end += part.length;
        rest = rest.subarray(part.length);
      }
    },
    skip: (bytes) => {
      blocks.length = 0;
      end += bytes;
    },
    read: (position, most) => {
      // all blocks but the last are full
      const block = blocks[Math.floor((position - start()) / BLOCK_BYTES)];
      if (block === undefined) return Buffer.alloc(0);
      const from = position - block.position;
      return block.bytes.subarray(from, Math.min(block.length, from + most));
    },
    trim: (wanted) => {
      const mayKeep = end - LAG_BYTES;
      const mustKeep = end - REPLAY_BYTES;
      for (;;) {
        const [block] = blocks;
        if (block === undefined) return;
        const next = block.position + block.length;
        if (next > mustKeep || (next > wanted && next > mayKeep)) return;
        blocks.shift();
      }
    },
  };
}
