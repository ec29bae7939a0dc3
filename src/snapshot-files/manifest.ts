import { createHash } from 'node:crypto';
import { join } from 'node:path';
import * as v from 'valibot';
import { COMPOSED_FILES, SNAPSHOT_FILES } from './snapshot-folder.ts';
import { codeOf, reasonOf } from '../util/errno.ts';
import { openFile, readBytes, readText } from '../util/open-file.ts';
import { statPath } from '../util/path-calls.ts';

/** Versions of the formats of a snapshot's files: a differential snapshot has one of its own, as older versions would restore holes. */
const FULL_FORMAT = 2;
const DIFFERENTIAL_FORMAT = 3;

/** Formats that can be restored: in the first, `state.json` has no first line with facts. */
const KNOWN_FORMATS: readonly number[] = [1, FULL_FORMAT, DIFFERENTIAL_FORMAT];

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
  /** snapshot from which this one differs, by path and checksum of its `state.json`; for information, `state.json` decides */
  base: v.optional(v.object({ path: v.string(), sha256: v.string() })),
  /** copies of disks in the directory, by id of the disk; for information, `state.json` decides */
  disks: v.optional(v.array(v.object({ id: v.string(), file: v.string() }))),
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
  readonly regions: readonly Manifest['regions'][number][];
  /** base of a differential snapshot */
  readonly base?: Manifest['base'];
  readonly disks?: undefined | readonly { readonly id: string; readonly file: string }[];
}

/** Returns the contents of `state.json`: a first line with the facts, then the machine, which is the JSON of an object. */
export function withFacts(machine: string, { engine, memorySize, base }: SnapshotFacts): string {
  // the text after the object's opening brace is the second line
  const rest = machine.slice(1);
  const facts: v.InferOutput<typeof StateFacts> = {
    format: formatOf(base),
    engine,
    files: { [SNAPSHOT_FILES.memory]: { size: memorySize } },
    state: { size: Buffer.byteLength(rest), sha256: hashOf(rest) },
  };
  return `${FACTS_START}${JSON.stringify(facts)},\n${rest}`;
}

/** Returns the manifest of a written snapshot. */
export function manifestOf(
  state: string,
  { engine, memorySize, regions, base, disks }: SnapshotFacts,
): string {
  const manifest: Manifest = {
    format: formatOf(base),
    engine,
    files: {
      [SNAPSHOT_FILES.state]: { size: Buffer.byteLength(state), sha256: hashOf(state) },
      [SNAPSHOT_FILES.memory]: { size: memorySize },
    },
    regions: regions.map(({ id, offset, length }) => ({ id, offset, length })),
    base: base && { path: base.path, sha256: base.sha256 },
    ...(disks && { disks: [...disks] }),
  };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

function formatOf(base: Manifest['base']): number {
  return base === undefined ? FULL_FORMAT : DIFFERENTIAL_FORMAT;
}

/** Checked files of a snapshot. */
export interface Checked {
  /** contents of `state.json` */
  readonly state: Buffer;
  /** SHA-256 of `state.json`, in hexadecimal */
  readonly sha256: string;
  /** size of `memory-ranges` in `bytes` */
  readonly memoryBytes: number;
  /** path of `memory-ranges` */
  readonly memoryPath: string;
  /** program that wrote the snapshot */
  readonly program: string;
}

/**
 * Reads `state.json` of a snapshot and checks that it and the RAM are complete and unchanged.
 * Rejects with an Error that has the path and the reason.
 */
export async function readChecked(folder: string): Promise<Checked> {
  const path = join(folder, SNAPSHOT_FILES.manifest);
  const reading = early(readState(folder));
  const text = await readText(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new Error(`${folder}: is no whole snapshot (${SNAPSHOT_FILES.manifest}: ${reasonOf(error)})`, {
      cause: error,
    });
  });
  return text === undefined
    ? readByItsFacts(folder)
    : readByManifest(folder, parseManifest(path, text), reading);
}

async function readByManifest(
  folder: string,
  { engine: program, files }: Manifest,
  reading: Promise<Buffer>,
): Promise<Checked> {
  const { [SNAPSHOT_FILES.state]: ofState, [SNAPSHOT_FILES.memory]: ofMemory } = files;
  const memory = join(folder, SNAPSHOT_FILES.memory);
  const measuring = ofMemory.size === 0 ? sizeIfThere(memory) : sizeOf(memory);
  // an error in `state.json` is reported first
  measuring.catch(() => undefined);
  const { state, memoryPath } = await stateOf(folder, ofState, await reading);
  const size = await (memoryPath === memory ? measuring : sizeOf(memoryPath));
  if (size !== ofMemory.size) {
    throw new Error(`${memoryPath}: is not what was written (${size} bytes, not ${ofMemory.size})`);
  }
  return { state, sha256: ofState.sha256, memoryBytes: size, memoryPath, program };
}

/**
 * Returns the `state.json` that a manifest names; `bytes` were read before the manifest. If the files were replaced by composed ones and
 * the program ended between the manifest and them, some still have their temporary names: `memory-ranges` gets its name first, then
 * `state.json`.
 */
async function stateOf(
  folder: string,
  ofState: v.InferOutput<typeof OfState>,
  bytes: Buffer,
): Promise<Pick<Checked, 'state' | 'memoryPath'>> {
  const memoryPath = join(folder, SNAPSHOT_FILES.memory);
  const fits = (state: Buffer): boolean => isAs(state, { ...ofState, found: hashOf(state) });
  if (fits(bytes)) return { state: bytes, memoryPath };
  const replacement = await readBytes(join(folder, COMPOSED_FILES.state)).catch(() => Buffer.alloc(0));
  if (fits(replacement)) {
    const composed = join(folder, COMPOSED_FILES.memory);
    return { state: replacement, memoryPath: (await exists(composed)) ? composed : memoryPath };
  }
  const late = await readState(folder);
  if (!fits(late)) throw changed(folder);
  return { state: late, memoryPath };
}

/** Reads a copy of a snapshot without a manifest and without RAM of its own: some clients copy only the files of Cloud Hypervisor. */
async function readByItsFacts(folder: string): Promise<Checked> {
  const unfinished = new Error(
    `${folder}: is no whole snapshot (there is no manifest: it was never finished)`,
  );
  const [memory, path] = [join(folder, SNAPSHOT_FILES.memory), join(folder, SNAPSHOT_FILES.state)];
  if ((await exists(memory)) || !(await exists(path))) throw unfinished;
  const state = await readState(folder);
  const end = state.indexOf('\n');
  const facts = parseAs(StateFacts, state.toString('utf8', FACTS_START.length, end - 1));
  if (facts === undefined) throw unfinished;
  checkFormat(path, facts.format);
  const rest = state.subarray(end + 1);
  if (!isAs(rest, { ...facts.state, found: hashOf(rest) })) throw changed(folder);
  if (facts.files[SNAPSHOT_FILES.memory].size > 0) {
    throw new Error(`${memory}: no such file, and the snapshot has RAM in it`);
  }
  const { engine: program } = facts;
  return { state, sha256: hashOf(state), memoryBytes: 0, memoryPath: memory, program };
}

/** Returns true if a file has the size and checksum that were written; `found` is its own checksum. */
function isAs(
  bytes: Buffer,
  { size, sha256, found }: v.InferOutput<typeof OfState> & { found: string },
): boolean {
  return bytes.length === size && found === sha256;
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

/** Returns the size of a file that may be absent: RAM in the files of memory zones needs no file of the snapshot. */
async function sizeIfThere(path: string): Promise<number> {
  return (await exists(path)) ? sizeOf(path) : 0;
}

function exists(path: string): Promise<boolean> {
  return statPath(path).then(
    () => true,
    () => false,
  );
}

/** Begins to read a text file of a snapshot while others are checked. Its error is reported when it is awaited, or not at all. */
export function readEarly(folder: string, name: string): Promise<string> {
  return early(read(folder, name));
}

function early<T>(reading: Promise<T>): Promise<T> {
  reading.catch(() => undefined);
  return reading;
}

function readState(folder: string): Promise<Buffer> {
  const path = join(folder, SNAPSHOT_FILES.state);
  return readBytes(path).catch(refuse(path));
}

/** Reads a text file of a snapshot. Rejects with an Error that has the path and the reason. */
export async function read(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  return readText(path).catch(refuse(path));
}

function refuse(path: string): (error: unknown) => never {
  return (error) => {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  };
}

function parseManifest(path: string, text: string): Manifest {
  const manifest = parseAs(Manifest, text);
  if (manifest === undefined) throw new Error(`${path}: is not a snapshot's manifest`);
  checkFormat(path, manifest.format);
  return manifest;
}

function checkFormat(path: string, format: number): void {
  if (KNOWN_FORMATS.includes(format)) return;
  throw new Error(`${path}: format ${format} is not known, only ${KNOWN_FORMATS.join(', ')} are`);
}

function parseAs<S extends v.GenericSchema>(schema: S, text: string): v.InferOutput<S> | undefined {
  try {
    return v.parse(schema, JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Returns the SHA-256 of a text or of bytes, in hexadecimal. */
export function hashOf(contents: string | Buffer): string {
  return createHash('sha256').update(contents).digest('hex');
}
