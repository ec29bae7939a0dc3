import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { SNAPSHOT_FILES } from '../../host/snapshot-folder.ts';
import { codeOf, reasonOf } from '../../util/errno.ts';

/** Version of the files' formats: another is not restored. */
const FORMAT = 1;

/**
 * What says that a snapshot is whole. It is written last, so that a directory without it, or one whose files are not as it
 * says, is no snapshot. The configuration is not in it: clients edit that.
 */
const Manifest = v.object({
  format: v.number(),
  /** for people: what wrote it */
  engine: v.string(),
  files: v.object({
    [SNAPSHOT_FILES.state]: v.object({ size: v.number(), sha256: v.string() }),
    [SNAPSHOT_FILES.memory]: v.object({ size: v.number() }),
  }),
  regions: v.array(v.object({ id: v.string(), offset: v.number(), length: v.number() })),
});
export type Manifest = v.InferOutput<typeof Manifest>;

interface Written {
  readonly engine: string;
  /** contents of `state.json` */
  readonly state: string;
  /** size of `memory-ranges` in `bytes` */
  readonly memorySize: number;
  readonly regions: Manifest['regions'];
}

/** The manifest of a snapshot that was written. */
export function manifestOf({ engine, state, memorySize, regions }: Written): string {
  const manifest: Manifest = {
    format: FORMAT,
    engine,
    files: {
      [SNAPSHOT_FILES.state]: { size: Buffer.byteLength(state), sha256: hashOf(state) },
      [SNAPSHOT_FILES.memory]: { size: memorySize },
    },
    regions,
  };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

/**
 * Reads `state.json` of a snapshot and makes sure that it and the RAM are what was written.
 * Rejects, with the path and the reason, where the snapshot is not whole.
 */
export async function readChecked(folder: string): Promise<string> {
  const manifest = await readManifest(folder);
  const { [SNAPSHOT_FILES.state]: ofState, [SNAPSHOT_FILES.memory]: ofMemory } = manifest.files;
  const state = await read(folder, SNAPSHOT_FILES.state);
  if (Buffer.byteLength(state) !== ofState.size || hashOf(state) !== ofState.sha256) {
    throw new Error(`${join(folder, SNAPSHOT_FILES.state)}: is not what was written (its checksum differs)`);
  }
  const memory = join(folder, SNAPSHOT_FILES.memory);
  const { size } = await stat(memory).catch((error: unknown) => {
    throw new Error(`${memory}: ${reasonOf(error)}`);
  });
  if (size !== ofMemory.size) {
    throw new Error(`${memory}: is not what was written (${size} bytes, not ${ofMemory.size})`);
  }
  return state;
}

/** Reads a text file of a snapshot; rejects with its path and the reason. */
export async function read(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw new Error(`${path}: ${reasonOf(error)}`);
  });
}

async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, SNAPSHOT_FILES.manifest);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    const why = codeOf(error) === 'ENOENT' ? 'there is no manifest: it was never finished' : reasonOf(error);
    throw new Error(`${folder}: is no whole snapshot (${why})`);
  });
  const manifest = parse(text);
  if (manifest === undefined) throw new Error(`${path}: is not a snapshot's manifest`);
  if (manifest.format !== FORMAT) {
    throw new Error(`${path}: format ${manifest.format} is not known, only ${FORMAT} is`);
  }
  return manifest;
}

function parse(text: string): Manifest | undefined {
  try {
    return v.parse(Manifest, JSON.parse(text));
  } catch {
    return undefined;
  }
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
