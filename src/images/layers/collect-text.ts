import type { Readable } from 'node:stream';

/** Most characters of a program's error output that are kept. */
const TEXT_MAX = 500;

/** Reads the error output of a program. @returns a function that returns its first characters */
export function collectText(stream: Readable): () => string {
  let text = '';
  stream.on('data', (bytes: Buffer) => {
    if (text.length < TEXT_MAX) text = (text + bytes.toString('utf8')).slice(0, TEXT_MAX);
  });
  return () => text.trim();
}
