// Snapshots with damaged files: the same set in every run.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/** One damage; `apply` does it to a whole snapshot in a folder. */
export interface Damage {
  readonly name: string;
  readonly apply: (folder: string) => void;
}

const [CONFIG, STATE, MANIFEST, MEMORY] = [
  'config.json',
  'state.json',
  'manifest.json',
  'memory-ranges',
] as const;

/** Makes a folder with a snapshot whose RAM is linked. */
export function copySnapshot(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to);
  for (const name of [CONFIG, STATE, MANIFEST]) copyFileSync(join(from, name), join(to, name));
  linkSync(join(from, MEMORY), join(to, MEMORY));
}

/** `count` damages of a snapshot, the same for the same `random`. */
export function damagesOf(snapshot: string, count: number, random: () => number): Damage[] {
  const kinds = [
    member(CONFIG),
    member(CONFIG),
    bytesOf(CONFIG),
    member(STATE),
    member(STATE),
    bytesOf(STATE),
    deviceState,
    member(MANIFEST),
    bytesOf(MANIFEST),
    memory,
    replaced,
  ];
  return Array.from({ length: count }, (_, i) => (kinds[i % kinds.length] ?? replaced)(snapshot, random));
}

type Kind = (snapshot: string, random: () => number) => Damage;

const below = (random: () => number, limit: number): number => Math.floor(random() * limit);

function one<T>(random: () => number, items: readonly T[]): T {
  const item = items[below(random, items.length)];
  if (item === undefined) throw new Error('nothing to choose from');
  return item;
}

/** Values of other types and sizes than a member has. */
const VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1.5,
  1e308,
  2 ** 32,
  Number.MAX_SAFE_INTEGER,
  '',
  '/dev/zero',
  'x'.repeat(100_000),
  [],
  {},
  Array.from({ length: 10_000 }, (_, i) => i),
  JSON.parse(`${'['.repeat(2000)}${']'.repeat(2000)}`) as unknown,
];

/** A member is removed, or has another value; a state that was changed gets its checksum. */
function member(file: typeof CONFIG | typeof STATE | typeof MANIFEST): Kind {
  return (snapshot, random) => {
    const json = JSON.parse(readFileSync(join(snapshot, file), 'utf8')) as object;
    const path = one(random, pathsOf(json));
    const isRemoved = below(random, 3) === 0;
    const value = one(random, VALUES);
    const shown = isRemoved ? 'is removed' : `is ${JSON.stringify(value).slice(0, 40)}`;
    return {
      name: `${file}: ${path.join('.')} ${shown}`,
      apply: (folder) => {
        const whole = JSON.parse(readFileSync(join(folder, file), 'utf8')) as object;
        setMember(whole, path, isRemoved ? undefined : value);
        writeFileSync(join(folder, file), JSON.stringify(whole));
        if (file === STATE) sign(folder);
      },
    };
  };
}

/** Places of all members; of long lists the first ones. */
function pathsOf(value: unknown, at: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value)
    .slice(0, 50)
    .flatMap(([name, inner]: [string, unknown]) => [[...at, name], ...pathsOf(inner, [...at, name])]);
}

function setMember(json: object, path: readonly string[], value: unknown): void {
  const [name = '', ...rest] = path;
  if (rest.length > 0) setMember(Reflect.get(json, name) as object, rest, value);
  else if (value === undefined) Reflect.deleteProperty(json, name);
  else Reflect.set(json, name, value);
}

/** Gives the manifest the size and checksum of the state, as an attacker can. */
function sign(folder: string): void {
  const state = readFileSync(join(folder, STATE));
  const manifest = JSON.parse(readFileSync(join(folder, MANIFEST), 'utf8')) as {
    files: Record<string, { size: number; sha256?: string }>;
  };
  const { size } = statSync(join(folder, MEMORY));
  manifest.files = {
    [STATE]: { size: state.length, sha256: createHash('sha256').update(state).digest('hex') },
    [MEMORY]: { size },
  };
  writeFileSync(join(folder, MANIFEST), JSON.stringify(manifest));
}

/** Bytes of a file are changed, or it is truncated; its checksum stays. */
function bytesOf(file: typeof CONFIG | typeof STATE | typeof MANIFEST): Kind {
  return (snapshot, random) => {
    const contents = readFileSync(join(snapshot, file));
    const at = below(random, contents.length);
    const byte = below(random, 256);
    const isCut = below(random, 3) === 0;
    return {
      name: isCut ? `${file}: cut to ${at} bytes` : `${file}: byte ${at} is ${byte}`,
      apply: (folder) => {
        contents[at] = byte;
        writeFileSync(join(folder, file), isCut ? contents.subarray(0, at) : contents);
      },
    };
  };
}

/** QEMU gets another state than it wrote. */
const deviceState: Kind = (snapshot, random) => {
  const machine = JSON.parse(readFileSync(join(snapshot, STATE), 'utf8')) as { deviceState: string };
  const stream = Buffer.from(machine.deviceState, 'base64');
  const places = Array.from({ length: 1 + below(random, 4) }, () => below(random, stream.length));
  const isCut = below(random, 4) === 0;
  return {
    name: `the devices' state: bytes ${places.join(', ')}${isCut ? ', cut at the first' : ''}`,
    apply: (folder) => {
      for (const place of places) stream[place] = (stream[place] ?? 0) ^ 0xff;
      const left = isCut ? stream.subarray(0, places[0]) : stream;
      writeFileSync(
        join(folder, STATE),
        JSON.stringify({ ...machine, deviceState: left.toString('base64') }),
      );
      sign(folder);
    },
  };
};

/** RAM is truncated, with and without a change of the manifest, or has other bytes. */
const memory: Kind = (snapshot, random) => {
  const { size } = statSync(join(snapshot, MEMORY));
  const at = below(random, size);
  const how = one(random, ['cut', 'cut and signed', 'changed'] as const);
  return {
    name: `RAM is ${how} at ${at}`,
    apply: (folder) => {
      rmSync(join(folder, MEMORY));
      execFileSync('cp', ['--sparse=always', join(snapshot, MEMORY), join(folder, MEMORY)]);
      if (how === 'changed') writeAt(join(folder, MEMORY), Buffer.alloc(64, 0xa5), at);
      else truncateSync(join(folder, MEMORY), at);
      if (how === 'cut and signed') sign(folder);
    },
  };
};

function writeAt(path: string, bytes: Buffer, at: number): void {
  const file = openSync(path, 'r+');
  try {
    writeSync(file, bytes, 0, bytes.length, at);
  } finally {
    closeSync(file);
  }
}

/** A file is replaced by one of another kind. */
const replaced: Kind = (_snapshot, random) => {
  const file = one(random, [CONFIG, STATE, MANIFEST, MEMORY]);
  const how = one(random, [
    'nothing',
    'a folder',
    'a FIFO',
    'a link to itself',
    'an empty file',
    'an endless file',
  ] as const);
  return {
    name: `${file}: ${how}`,
    apply: (folder) => {
      const path = join(folder, file);
      rmSync(path);
      if (how === 'a folder') mkdirSync(path);
      if (how === 'a FIFO') execFileSync('mkfifo', ['--', path]);
      if (how === 'a link to itself') execFileSync('ln', ['-s', '--', file, path]);
      if (how === 'an empty file') writeFileSync(path, '');
      if (how === 'an endless file') execFileSync('ln', ['-s', '--', '/dev/zero', path]);
    },
  };
};
