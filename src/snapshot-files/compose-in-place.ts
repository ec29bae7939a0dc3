import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Amount } from '../host/memory/copy-extents.ts';
import { abortable } from '../util/abortable.ts';
import { composeInto, readComposeSource } from './compose.ts';
import { lockFolder } from './folder-lock.ts';
import { removeAbandoned } from './remove-abandoned.ts';
import { COMPOSED_FILES, flush, SNAPSHOT_FILES, UNFINISHED } from './snapshot-folder.ts';
import { createUnnamedFile } from './unnamed-file.ts';

/*
 * Replacement of a differential snapshot by a full one with the same contents, in the same directory.
 *
 * States: the directory has the differential snapshot until its manifest is replaced, which is one rename; then it has the full one.
 * The files of the full one have temporary names before, and get their own names afterwards: `memory-ranges` first, then `state.json`.
 * A program that ends between leaves files with temporary names, which `manifest.ts` finds, and to which `remove-abandoned.ts` gives
 * their own.
 *
 * Invariant: a reader that has opened the files, and sees the same identity afterwards, has the files of one of the two.
 */

/** A composition in place. */
export interface InPlaceOptions {
  readonly durable: boolean;
  readonly amount: Amount;
  /** cancels it: the differential snapshot stays */
  readonly signal: AbortSignal;
  /** called before the manifest is replaced, which it may refuse */
  readonly commit: () => void;
}

/**
 * Replaces a differential snapshot by a full one with the same contents. A full one stays as it is. If it rejects, or is cancelled, the
 * differential snapshot is as before.
 * @throws Error naming the base or the file that cannot be used
 */
export async function composeInPlace(
  folder: string,
  { durable, amount, signal, commit }: InPlaceOptions,
): Promise<void> {
  await removeAbandoned(folder);
  const source = await readComposeSource(folder);
  if (source.layout.base === undefined) return;
  signal.throwIfAborted();
  const at = (name: string): string => join(folder, name);
  await using lock = await lockFolder(folder);
  const memory = await createUnnamedFile(folder, at(COMPOSED_FILES.memory));
  const made: string[] = [];
  const write = async (name: string, text: string): Promise<void> => {
    await using file = await lock.create(name);
    made.push(name);
    await file.writeFile(text);
  };
  try {
    await lock.record(COMPOSED_FILES.memory, memory.file);
    // not the end of a write to a slow disk
    const texts = await abortable(signal, composeInto(source, memory.file, { amount, signal }));
    if (durable) await abortable(signal, memory.file.sync());
    await write(COMPOSED_FILES.state, texts.state);
    await write(UNFINISHED, texts.manifest);
    if (durable) for (const name of made) await flush(at(name), signal);
    commit();
    await memory.link();
    made.push(COMPOSED_FILES.memory);
    if (durable) await flush(folder);
    await rename(at(UNFINISHED), at(SNAPSHOT_FILES.manifest));
  } catch (error) {
    for (const name of made) await rm(at(name), { force: true });
    await memory.discard();
    throw error;
  }
  if (durable) await flush(folder);
  await rename(at(COMPOSED_FILES.memory), at(SNAPSHOT_FILES.memory));
  await rename(at(COMPOSED_FILES.state), at(SNAPSHOT_FILES.state));
  await memory.file.close();
  if (durable) await flush(folder);
}
