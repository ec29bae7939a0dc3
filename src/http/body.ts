import type { IncomingMessage } from 'node:http';

import { ProtocolError } from './reply.ts';

/** Largest request body, in bytes: that of current versions of Cloud Hypervisor. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;

const EMPTY = Buffer.alloc(0);

/** Returns whether a body was announced: by a length other than 0, or in chunks (of which there may be none). */
export function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && Number(length) > 0);
}

/** Refuses a body whose announced length is too large, before any of it is read. */
export function checkLength(request: IncomingMessage): void {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
}

/**
 * Reads the body of a request, empty where there is none. Rejects where it becomes too large, and with the reason of
 * `broken` where the connection breaks before its end; the rest then stays unread.
 */
export async function readBody(request: IncomingMessage, broken: AbortSignal): Promise<Buffer> {
  if (!hasBody(request)) return EMPTY;
  const body = createBytes(MAX_BODY_BYTES);
  await new Promise<void>((resolve, reject) => {
    const settle = (done: () => void) => {
      request.removeListener('data', onData);
      broken.removeEventListener('abort', onBroken);
      done();
    };
    const onData = (chunk: Buffer) => {
      if (!body.add(chunk)) settle(() => reject(tooLarge()));
    };
    const onBroken = () => {
      // the fault may be in bytes after this request, whose body has then arrived already
      const arrives = request.complete && broken.reason instanceof ProtocolError;
      if (!arrives) settle(() => reject(broken.reason));
    };
    request.on('data', onData);
    request.once('end', () => settle(resolve));
    broken.addEventListener('abort', onBroken);
    if (broken.aborted) onBroken();
  });
  return body.whole();
}

interface Bytes {
  /** @returns false where there would be too many */
  readonly add: (chunk: Buffer) => boolean;
  readonly whole: () => Buffer;
}

/** Collects bytes in one buffer that grows: a body in chunks of a byte each would be millions of buffers. */
function createBytes(most: number): Bytes {
  let bytes = Buffer.alloc(0);
  let length = 0;
  return {
    add: (chunk) => {
      const end = length + chunk.length;
      if (end > most) return false;
      if (end > bytes.length) {
        const larger = Buffer.alloc(Math.min(most, Math.max(end, 2 * bytes.length)));
        bytes.copy(larger, 0, 0, length);
        bytes = larger;
      }
      chunk.copy(bytes, length);
      length = end;
      return true;
    },
    whole: () => bytes.subarray(0, length),
  };
}

function tooLarge(): ProtocolError {
  return new ProtocolError(413, `Request body is larger than ${MAX_BODY_BYTES} bytes`);
}
