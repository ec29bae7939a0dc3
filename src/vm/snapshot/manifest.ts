import { createHash } from 'node:crypto';
import { join } from 'node:path';
import * as v from 'valibot';
import { SNAPSHOT_FILES } from '../../host/files/snapshot-folder.ts';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { openFile, readText } from '../../util/open-file.ts';
import { statPath } from '../../util/path-calls.ts';

/** Version of the formats of a snapshot's files. */
const FORMAT = 2;

/** Formats that can be restored: in the first, `state.json` has no first line with facts. */
const KNOWN_FORMATS: readonly number[] = [1, FORMAT];

const OfMemory = v.object({ size: v.number() });
const OfState = v.object({ size: v.number(), sha256: v.string() });

/**
 * Sizes and checksums of a snapshot's files. The manifest is written last: a snapshot is incomplete without it, or if a file differs
 * from it. The configuration is not in it, because clients edit it.
 */
const Manifest = v.object({
  format: v.number(),
  /** program that wrote the snapshot, for information only */
  engine: v.string(),
  files: v.object({ [SNAPSHOT_FILES.state]: OfState, [SNAPSHOT_FILES.memory]: OfMemory }),
  regions: v.array(v.object({ id: v.string(), offset: v.number(), length: v.number() })),
});
export type Manifest = v.InferOutput<typeof Manifest>;

/** The same facts in the first line of `state.json`, for clients that copy only this file and the configuration. */
const StateFacts = v.object({
  format: v.number(),
  engine: v.string(),
  files: v.object({ [SNAPSHOT_FILES.memory]: OfMemory }),
  /** size and checksum of the lines after this one */
  state: OfState,
});

/** Start of a `state.json` with a line of facts. */
const FACTS_START = '{"manifest":';

/** Facts of a snapshot's files. */
export interface SnapshotFacts {
  readonly engine: string;
  /** size of `memory-ranges` in `bytes` */
  readonly memorySize: number;
  readonly regions: Manifest['regions'];
}

/** Returns the contents of `state.json`: a first line with the facts, then the machine, which is the JSON of an object. */
export function withFacts(machine: string, { engine, memorySize }: SnapshotFacts): string {
  // the text after the object's opening brace is the second line
  const rest = machine.slice(1);
  const facts: v.InferOutput<typeof StateFacts> = {
    format: FORMAT,
    engine,
    files: { [SNAPSHOT_FILES.memory]: { size: memorySize } },
    state: { size: Buffer.byteLength(rest), sha256: hashOf(rest) },
  };
  return `${FACTS_START}${JSON.stringify(facts)},\n${rest}`;
}

/** Returns the manifest of a written snapshot. */
export function manifestOf(state: string, { engine, memorySize, regions }: SnapshotFacts): string {
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

/** Checked files of a snapshot. */
interface Checked {
  /** contents of `state.json` */
  readonly state: string;
  /** size of `memory-ranges` in `bytes` */
  readonly memoryBytes: number;
}

/**
 * Reads `state.json` of a snapshot and checks that it and the RAM are complete and unchanged.
 * Rejects with an Error that has the path and the reason.
 */
export async function readChecked(folder: string): Promise<Checked> {
  const path = join(folder, SNAPSHOT_FILES.manifest);
  const text = await readText(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new Error(`${folder}: is no whole snapshot (${SNAPSHOT_FILES.manifest}: ${reasonOf(error)})`, {
      cause: error,
    });
  });
  return text === undefined ? readByItsFacts(folder) : readByManifest(folder, parseManifest(path, text));
}

async function readByManifest(folder: string, { files }: Manifest): Promise<Checked> {
  const { [SNAPSHOT_FILES.state]: ofState, [SNAPSHOT_FILES.memory]: ofMemory } = files;
  const state = await read(folder, SNAPSHOT_FILES.state);
  if (!isAs(state, ofState)) throw changed(folder);
  // RAM in the files of memory zones needs no file of the snapshot
  const memory = join(folder, SNAPSHOT_FILES.memory);
  if (ofMemory.size === 0 && !(await exists(memory))) return { state, memoryBytes: 0 };
  const size = await sizeOf(memory);
  if (size !== ofMemory.size) {
    throw new Error(`${memory}: is not what was written (${size} bytes, not ${ofMemory.size})`);
  }
  return { state, memoryBytes: size };
}

/** Reads a copy of a snapshot without a manifest and without RAM of its own: some clients copy only the files of Cloud Hypervisor. */
async function readByItsFacts(folder: string): Promise<Checked> {
  const unfinished = new Error(
    `${folder}: is no whole snapshot (there is no manifest: it was never finished)`,
  );
  const [memory, path] = [join(folder, SNAPSHOT_FILES.memory), join(folder, SNAPSHOT_FILES.state)];
  if ((await exists(memory)) || !(await exists(path))) throw unfinished;
  const state = await read(folder, SNAPSHOT_FILES.state);
  const end = state.indexOf('\n');
  const facts = parseAs(StateFacts, state.slice(FACTS_START.length, end - 1));
  if (facts === undefined) throw unfinished;
  checkFormat(path, facts.format);
  if (!isAs(state.slice(end + 1), facts.state)) throw changed(folder);
  if (facts.files[SNAPSHOT_FILES.memory].size > 0) {
    throw new Error(`${memory}: no such file, and the snapshot has RAM in it`);
  }
  return { state, memoryBytes: 0 };
}

function isAs(text: string, { size, sha256 }: v.InferOutput<typeof OfState>): boolean {
  return Buffer.byteLength(text) === size && hashOf(text) === sha256;
}

function changed(folder: string): Error {
  return new Error(`${join(folder, SNAPSHOT_FILES.state)}: is not what was written (its checksum differs)`);
}

/** Returns the size of a regular file, in bytes. */
async function sizeOf(path: string): Promise<number> {
  try {
    await using file = await openFile(path);
    return (await file.stat()).size;
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}

function exists(path: string): Promise<boolean> {
  return statPath(path).then(
    () => true,
    () => false,
  );
}

/** Reads a text file of a snapshot. Rejects with an Error that has the path and the reason. */
export async function read(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  return readText(path).catch((error: unknown) => {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  });
}

function parseManifest(path: string, text: string): Manifest {
  const manifest = parseAs(Manifest, text);
  if (manifest === undefined) throw new Error(`${path}: is not a snapshot's manifest`);
  checkFormat(path, manifest.format);
  return manifest;
}

function checkFormat(path: string, format: number): void {
  if (KNOWN_FORMATS.includes(format)) return;
  throw new Error(`${path}: format ${format} is not known, only ${KNOWN_FORMATS.join(' and ')} are`);
}

function parseAs<S extends v.GenericSchema>(schema: S, text: string): v.InferOutput<S> | undefined {
  try {
    return v.parse(schema, JSON.parse(text));
  } catch {
    return undefined;
  }
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
