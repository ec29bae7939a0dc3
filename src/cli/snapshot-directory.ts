import { resolve } from 'node:path';

/** Returns the absolute path of a snapshot's directory: of a path, or of `file:///<directory>` as in the requests of the API. */
export function snapshotDirectory(word: string): string {
  return word.startsWith('file:///') ? resolve(word.slice('file://'.length)) : resolve(word);
}
