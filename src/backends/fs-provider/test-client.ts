// Requests of a guest to a provider, without a guest.
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { ROOT, type Attributes } from '../fuse/file-system.ts';
import type { ListedEntry, OperationName, ResultOf, ValueOf } from './operations.ts';
import { ProgramFileSystem } from './program-file-system.ts';
import type { FsProvider } from './provider.ts';

const CALLER = { uid: 1000, gid: 1001, pid: 7 };

const NAMES = new Map<number, string>(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/** Calls a provider as a guest does, by paths. */
export class TestClient {
  readonly files: ProgramFileSystem;
  readonly faults: unknown[] = [];

  constructor(provider: FsProvider) {
    this.files = new ProgramFileSystem(provider, (error) => this.faults.push(error));
  }

  /** Performs a request. Rejects with an error whose message is the code of Linux. */
  async call<K extends OperationName>(
    name: K,
    value: ValueOf<K>,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<ResultOf<K>> {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const operation = { name, value, caller: CALLER } as Parameters<ProgramFileSystem['run']>[0];
    const outcome = await this.files.run(operation, signal);
    if ('error' in outcome) throw new Error(NAMES.get(outcome.error) ?? String(outcome.error));
    return outcome.value;
  }

  /** Returns the node of a path; names are separated by `/`. */
  async node(path: string): Promise<number> {
    let node = ROOT;
    for (const name of path.split('/').filter((one) => one !== ''))
      ({ node } = await this.call('lookup', { parent: node, name: Buffer.from(name) }));
    return node;
  }

  /** Returns the place of a path. */
  async place(path: string): Promise<{ parent: number; name: Uint8Array }> {
    const at = path.lastIndexOf('/');
    return { parent: await this.node(path.slice(0, at < 0 ? 0 : at)), name: Buffer.from(path.slice(at + 1)) };
  }

  async stat(path: string): Promise<Attributes> {
    return this.call('getattr', await this.node(path));
  }

  async open(path: string, flags: number): Promise<number> {
    const { handle } = await this.call('open', { node: await this.node(path), flags });
    return handle;
  }

  release(handle: number): void {
    this.files.notice({ name: 'release', handle });
  }

  /** Reads a file in pieces. */
  async read(path: string, piece = 100_000): Promise<Buffer> {
    const handle = await this.open(path, 0);
    const pieces: Uint8Array[] = [];
    for (let offset = 0; ;) {
      const bytes = await this.call('read', { handle, offset, length: piece });
      pieces.push(bytes);
      offset += bytes.length;
      if (bytes.length < piece) break;
    }
    this.release(handle);
    return Buffer.concat(pieces);
  }

  async create(path: string, mode = 0o644): Promise<{ node: number; handle: number }> {
    return this.call('create', { ...(await this.place(path)), mode: 0o100_000 | mode, flags: 2 });
  }

  /** Writes a whole file, which is created or truncated. */
  async write(path: string, content: string | Uint8Array): Promise<void> {
    const data = Buffer.from(content);
    const exists = await this.node(path).catch(() => undefined);
    const handle = exists === undefined ? (await this.create(path)).handle : await this.open(path, 0o1001);
    await this.call('write', { node: await this.node(path), offset: 0, data });
    this.release(handle);
  }

  async list(path: string, { count = 1000, plus = false } = {}): Promise<ListedEntry[]> {
    const { handle } = await this.call('opendir', await this.node(path));
    const all: ListedEntry[] = [];
    for (let offset = 0; ;) {
      const some = await this.call('readdir', { handle, offset, count, plus });
      all.push(...some);
      const last = some.at(-1);
      if (last === undefined) break;
      assert.ok(last.next > offset);
      offset = last.next;
    }
    this.release(handle);
    return all;
  }

  /** Returns the names in a directory, in order. */
  async names(path: string): Promise<string[]> {
    const entries = await this.list(path);
    return entries
      .map(({ name }) => Buffer.from(name).toString())
      .filter((name) => name !== '.' && name !== '..')
      .toSorted();
  }

  async mkdir(path: string): Promise<void> {
    await this.call('mkdir', { ...(await this.place(path)), mode: 0o755 });
  }

  async unlink(path: string): Promise<void> {
    await this.call('unlink', await this.place(path));
  }

  async rmdir(path: string): Promise<void> {
    await this.call('rmdir', await this.place(path));
  }

  async rename(from: string, to: string, flags = 0): Promise<void> {
    await this.call('rename', { from: await this.place(from), to: await this.place(to), flags });
  }

  async link(from: string, to: string): Promise<void> {
    await this.call('link', { node: await this.node(from), to: await this.place(to) });
  }

  async symlink(target: string, path: string): Promise<void> {
    await this.call('symlink', { ...(await this.place(path)), target: Buffer.from(target) });
  }

  async readlink(path: string): Promise<string> {
    return Buffer.from(await this.call('readlink', await this.node(path))).toString();
  }
}
