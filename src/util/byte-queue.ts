/** Bytes are copied into blocks of this size, so that many small pieces take no more memory than one large piece. */
const BLOCK_BYTES = 65_536;

/** A queue of bytes. Adding and removing take constant time. */
export interface ByteQueue {
  readonly length: () => number;
  /** Adds a copy of the bytes at the end. */
  readonly push: (bytes: Uint8Array) => void;
  /** Returns the first bytes, as many as are contiguous; empty where there are none. They are never changed. */
  readonly front: () => Buffer;
  /** Removes the first `count` bytes. */
  readonly drop: (count: number) => void;
}

interface Block {
  readonly bytes: Buffer;
  start: number;
  end: number;
}

/** Creates an empty queue. */
export function createByteQueue(): ByteQueue {
  const blocks: Block[] = [];
  let length = 0;
  return {
    length: () => length,
    push: (bytes) => {
      length += bytes.length;
      let rest = bytes;
      while (rest.length > 0) {
        const block = lastWithSpace(blocks);
        const part = rest.subarray(0, block.bytes.length - block.end);
        block.bytes.set(part, block.end);
        block.end += part.length;
        rest = rest.subarray(part.length);
      }
    },
    front: () => {
      const [block] = blocks;
      return block === undefined ? Buffer.alloc(0) : block.bytes.subarray(block.start, block.end);
    },
    drop: (count) => {
      let left = Math.min(count, length);
      length -= left;
      while (left > 0) left -= dropFromFirst(blocks, left);
    },
  };
}

function lastWithSpace(blocks: Block[]): Block {
  const last = blocks.at(-1);
  if (last !== undefined && last.end < last.bytes.length) return last;
  const block = { bytes: Buffer.allocUnsafeSlow(BLOCK_BYTES), start: 0, end: 0 };
  blocks.push(block);
  return block;
}

/** @returns the number of bytes that were removed */
function dropFromFirst(blocks: Block[], most: number): number {
  const [block] = blocks;
  if (block === undefined) return most;
  const count = Math.min(most, block.end - block.start);
  block.start += count;
  if (block.start === block.end) blocks.shift();
  return count;
}

/** Removes the oldest bytes beyond `most`. @returns their number */
export function dropOldest(queue: ByteQueue, most: number): number {
  const excess = Math.max(0, queue.length() - most);
  queue.drop(excess);
  return excess;
}
