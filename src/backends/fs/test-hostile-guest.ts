// A hostile guest of a shared directory: requests over real rings to the file system of a directory, beside which a secret lies.
import assert from 'node:assert/strict';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { array, assert as check, property } from 'fast-check';
import { loadLibc } from '../../native/libc.ts';
import { Opcode } from '../fuse/opcodes.ts';
import { startDriver, type TestDriver, type TestReply, type TestRequest } from '../fuse/test-driver.ts';
import { fieldsOf, hostileRequest } from '../fuse/test-requests.ts';
import { openDirectory } from './directory.ts';

await loadLibc();

const SECRET = 'the guest must not read this';

/** Size of the secret, by which its attributes are known in a reply. */
const SECRET_BYTES = 123_457;

/** Largest offset and size: the files of the share must fit the disk of the test. */
const MOST_BYTES = 2 ** 20;

/** First words of 64-bit offsets and sizes in the structures of requests that can make a file large, or take long with one. */
const OFFSETS: Readonly<Record<number, readonly number[]>> = {
  [Opcode.Setattr]: [4],
  [Opcode.Write]: [2],
  [Opcode.Fallocate]: [2, 4],
  [Opcode.CopyFileRange]: [2, 8, 10],
};

/** Limits the offsets and sizes of a request. */
function tame(request: TestRequest): TestRequest {
  const [body] = request.body ?? [];
  if (body === undefined) return request;
  const bytes = Uint8Array.from(body);
  const view = new DataView(bytes.buffer);
  for (const word of OFFSETS[request.opcode] ?? []) {
    const at = word * 4;
    if (at + 8 > bytes.length) continue;
    view.setUint32(at, Math.min(view.getUint32(at, true), MOST_BYTES), true);
    view.setUint32(at + 4, 0, true);
  }
  return { ...request, body: [bytes] };
}

/** A directory with a shared one in it, and beside that a secret. */
interface Surroundings {
  readonly folder: string;
  readonly share: string;
}

function makeSurroundings(): Surroundings {
  const folder = mkdtempSync(join(tmpdir(), 'hostile-'));
  const share = join(folder, 'share');
  mkdirSync(join(share, 'folder'), { recursive: true });
  writeFileSync(join(share, 'file'), 'of the share');
  writeFileSync(join(folder, 'secret'), SECRET.padEnd(SECRET_BYTES));
  symlinkSync('../secret', join(share, 'link'));
  symlinkSync(join(folder, 'secret'), join(share, 'a'));
  symlinkSync('..', join(share, 'b'));
  return { folder, share };
}

/** State of all that is outside of the share. A read would change the time of the access. */
function outside({ folder }: Surroundings): unknown {
  return readdirSync(folder)
    .filter((name) => name !== 'share')
    .map((name) => {
      const { ino, mode, nlink, size, mtimeMs, ctimeMs, atimeMs } = lstatSync(join(folder, name));
      return [name, ino, mode, nlink, size, mtimeMs, ctimeMs, atimeMs];
    });
}

/** The secret is neither read nor found: neither its data nor its attributes are in a reply. */
function checkReply({ payload }: TestReply, opcode: number): void {
  const bytes = Buffer.from(payload.buffer);
  assert.ok(!bytes.includes(SECRET), `operation ${opcode} returns the secret`);
  const sizeAt = ATTRIBUTES_AT[opcode];
  if (sizeAt === undefined || bytes.length < sizeAt + 8) return;
  assert.notEqual(
    payload.getBigUint64(sizeAt, true),
    BigInt(SECRET_BYTES),
    `operation ${opcode} finds the secret`,
  );
}

/** Offset of the size in replies with attributes. */
const ATTRIBUTES_AT: Readonly<Record<number, number>> = {
  ...{ [Opcode.Lookup]: 48, [Opcode.Create]: 48, [Opcode.Mknod]: 48, [Opcode.Mkdir]: 48 },
  ...{ [Opcode.Symlink]: 48, [Opcode.Link]: 48, [Opcode.Getattr]: 24, [Opcode.Setattr]: 24 },
};

/** Inodes and handles that the guest has got, by which small numbers in its requests are replaced. */
class Known {
  readonly #nodes = [1n];
  readonly #handles = [1n];

  /** Replaces the inodes and handles of a request. */
  resolve(request: TestRequest): TestRequest {
    const [body = new Uint8Array()] = request.body ?? [];
    const bytes = Uint8Array.from(body);
    const view = new DataView(bytes.buffer);
    for (const [kind, numbers] of [
      ['n', this.#nodes],
      ['h', this.#handles],
    ] as const) {
      for (const at of fieldsOf(request.opcode, kind))
        if (at + 8 <= bytes.length) view.setBigUint64(at, pick(numbers, view.getBigUint64(at, true)), true);
    }
    return { ...request, node: pick(this.#nodes, BigInt(request.node ?? 1)), body: [bytes] };
  }

  /** Adds the inode or handle of a reply. */
  add({ error, payload }: TestReply, opcode: number): void {
    if (error !== 0) return;
    if (ENTRY_REPLIES.has(opcode)) this.#nodes.push(payload.getBigUint64(0, true));
    const handleAt = HANDLE_AT[opcode];
    if (handleAt !== undefined) this.#handles.push(payload.getBigUint64(handleAt, true));
    for (const list of [this.#nodes, this.#handles]) if (list.length > MOST_KNOWN) list.splice(1, 1);
  }
}

/** Numbers from 1 on, below which a number stands for one that is known. */
const MOST_KNOWN = 10;

function pick(known: readonly bigint[], number: bigint): bigint {
  return number > 0n && number < MOST_KNOWN ? (known[Number(number) % known.length] ?? 1n) : number;
}

/** Operations whose reply begins with an inode. */
const ENTRY_REPLIES: ReadonlySet<number> = new Set([
  ...[Opcode.Lookup, Opcode.Create, Opcode.Mknod, Opcode.Mkdir, Opcode.Symlink, Opcode.Link],
]);

/** Offset of the handle in replies that have one. */
const HANDLE_AT: Readonly<Record<number, number>> = {
  [Opcode.Open]: 0,
  [Opcode.Opendir]: 0,
  [Opcode.Create]: 128,
};

function play(driver: TestDriver, requests: readonly TestRequest[]): void {
  const known = new Known();
  for (const request of requests) {
    const reply = driver.call(tame(known.resolve(request)));
    checkReply(reply, request.opcode);
    known.add(reply, request.opcode);
  }
}

/** Sends so many hostile requests to a directory, over and over to the same one. Throws where one reaches what is outside. */
export function attackDirectory(options: { requests: number; perRun: number; seed?: number }): void {
  const surroundings = makeSurroundings();
  try {
    const before = outside(surroundings);
    const directory = openDirectory({ path: surroundings.share });
    using driver = startDriver({ files: directory });
    const { requests: total, perRun, seed } = options;
    const size = { minLength: perRun, maxLength: perRun, size: 'max' } as const;
    check(
      property(array(hostileRequest, size), (requests) => {
        assert.equal(driver.init().error, 0);
        play(driver, requests);
        assert.deepEqual(outside(surroundings), before);
      }),
      { numRuns: Math.ceil(total / perRun), ...(seed !== undefined && { seed }), endOnFailure: true },
    );
    assert.equal(driver.init().error, 0);
    directory[Symbol.dispose]();
    assert.deepEqual(outside(surroundings), before);
    assert.ok(readFileSync(join(surroundings.folder, 'secret'), 'utf8').startsWith(SECRET));
  } finally {
    rmSync(surroundings.folder, { recursive: true });
  }
}
