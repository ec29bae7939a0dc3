import { libc } from '../../native/libc.ts';
import { ENOMEM, ENOSYS, EPERM } from './errors.ts';
import type {
  Answer,
  AttributeChange,
  Attributes,
  Caller,
  Creation,
  DirectorySink,
  Done,
  Entry,
  FileSystem,
  FileSystemStatus,
  Handle,
  Name,
  NodeId,
  Opened,
  Place,
  Range,
  Result,
  WriteFlags,
} from '../fuse/file-system.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';
import { GrantedReferences } from './granted-references.ts';
import { Later } from './later.ts';
import type { ListedEntry, OperationName, Outcome, PlaceValue, ResultOf, ValueOf } from './operations.ts';
import { PendingCalls } from './pending-calls.ts';
import type { FromThread, ShareThreadOptions } from './thread-messages.ts';

/** Most bytes of writes that the program has not completed; further writes fail with ENOMEM. */
const MAX_WRITTEN_BYTES = 256 * 2 ** 20;

/** Most entries that one call lists; with their inodes each needs a call of the provider. */
const ENTRIES = 128;
const ENTRIES_PLUS = 32;

/** Caller of requests that have none. */
const NO_CALLER: Caller = { uid: 0, gid: 0, pid: 0 };

type Options = Pick<ShareThreadOptions, 'timeoutMs' | 'concurrency'> & {
  readonly post: (message: FromThread) => void;
};

/** The file system of a program in another thread: each method sends a message, and settles when the result arrives. */
export class RemoteFileSystem implements FileSystem {
  readonly #granted: GrantedReferences;
  readonly #calls: PendingCalls;
  #writtenBytes = 0;

  constructor({ post, timeoutMs, concurrency }: Options) {
    this.#granted = new GrantedReferences((notice) => post({ kind: 'notice', notice }));
    const onLate = (outcome: Outcome<ResultOf<OperationName>>): void => this.#granted.revoke(outcome);
    this.#calls = new PendingCalls({ post, timeoutMs, concurrency, onLate });
  }

  /** Takes the result of a call. */
  settle(id: number, outcome: Outcome<ResultOf<OperationName>>): void {
    if (this.#calls.isPending(id)) this.#granted.grant(outcome);
    this.#calls.settle(id, outcome);
  }

  /** Fails the calls whose time limit has passed. @returns after how many `ms` to call it again; -1: no call is pending */
  expire(): number {
    return this.#calls.expire(performance.now()) ?? -1;
  }

  /** Fails all calls with ENOTCONN, also those to come. */
  close(): void {
    this.#calls.close();
  }

  lookup(caller: Caller, place: Place): Answer<Result<Entry>> {
    return this.#call('lookup', caller, () => placeValue(place));
  }

  forget(node: NodeId, count: number): void {
    this.#granted.forget(node, count);
  }

  getattr(node: NodeId): Answer<Result<Attributes>> {
    return this.#call('getattr', NO_CALLER, () => node);
  }

  setattr(caller: Caller, node: NodeId, change: AttributeChange): Answer<Result<Attributes>> {
    return this.#call('setattr', caller, () => ({ node, change }));
  }

  readlink(node: NodeId): Answer<Result<Uint8Array>> {
    return this.#call('readlink', NO_CALLER, () => node);
  }

  symlink(creation: Creation, target: Name): Answer<Result<Entry>> {
    const value = { ...placeValue(creation), target: copyOf(target) };
    return this.#call('symlink', creation.caller, () => value);
  }

  mknod(creation: Creation, device: number): Answer<Result<Entry>> {
    const value = { ...placeValue(creation), mode: creation.mode, device };
    return this.#call('mknod', creation.caller, () => value);
  }

  mkdir(creation: Creation): Answer<Result<Entry>> {
    const value = { ...placeValue(creation), mode: creation.mode };
    return this.#call('mkdir', creation.caller, () => value);
  }

  unlink(caller: Caller, place: Place): Answer<Done> {
    return this.#do('unlink', caller, placeValue(place));
  }

  rmdir(caller: Caller, place: Place): Answer<Done> {
    return this.#do('rmdir', caller, placeValue(place));
  }

  rename(caller: Caller, { from, to, flags }: { from: Place; to: Place; flags: number }): Answer<Done> {
    return this.#do('rename', caller, { from: placeValue(from), to: placeValue(to), flags });
  }

  link(caller: Caller, node: NodeId, to: Place): Answer<Result<Entry>> {
    const value = { node, to: placeValue(to) };
    return this.#call('link', caller, () => value);
  }

  open(caller: Caller, node: NodeId, flags: number): Answer<Result<Opened>> {
    return this.#call('open', caller, () => ({ node, flags }));
  }

  create(creation: Creation, flags: number): Answer<Result<Entry & Opened>> {
    const value = { ...placeValue(creation), mode: creation.mode, flags };
    return this.#call('create', creation.caller, () => value);
  }

  read({ handle, offset, length }: Range, into: Parts): Answer<number> {
    return this.#outcome('read', NO_CALLER, () => ({ handle, offset, length })).map((outcome) => {
      if ('error' in outcome) return -outcome.error;
      const { value } = outcome;
      // the buffers may be gone: the device was stopped, and repeats the request
      const bytes = Math.min(value.length, length, into.bytes);
      if (bytes > 0) into.copyIn(libc().addressOf(value), bytes);
      return bytes;
    });
  }

  write(caller: Caller, range: Range & WriteFlags, from: Parts): Answer<number> {
    const { node, offset, length, killsPrivileges } = range;
    if (this.#writtenBytes + length > MAX_WRITTEN_BYTES) return -ENOMEM;
    const data = new Uint8Array(length);
    if (length > 0) from.copyOut(libc().addressOf(data), length);
    this.#writtenBytes += length;
    return this.#dropPrivileges(caller, node, killsPrivileges)
      .chain((before) =>
        'error' in before
          ? Later.of<Outcome<true>>(before)
          : this.#outcome('write', caller, () => ({ node, offset, data })),
      )
      .map((outcome) => {
        this.#writtenBytes -= length;
        return 'error' in outcome ? -outcome.error : length;
      });
  }

  release(_: NodeId, handle: Handle): void {
    this.#granted.release(handle);
  }

  fsync(node: NodeId): Answer<Done> {
    return this.#do('sync', NO_CALLER, node);
  }

  opendir(caller: Caller, node: NodeId): Answer<Result<Opened>> {
    return this.#call('opendir', caller, () => node);
  }

  readdir(
    caller: Caller,
    { handle, offset }: { handle: Handle; offset: bigint },
    sink: DirectorySink,
  ): Answer<Done> {
    if (offset < 0n || offset > BigInt(Number.MAX_SAFE_INTEGER)) return 0;
    return this.#list(caller, { handle, offset: Number(offset) }, sink);
  }

  releasedir(_: NodeId, handle: Handle): void {
    this.#granted.release(handle);
  }

  fsyncdir(node: NodeId): Answer<Done> {
    return this.#do('sync', NO_CALLER, node);
  }

  statfs(): Answer<Result<FileSystemStatus>> {
    return this.#call('statfs', NO_CALLER, () => undefined);
  }

  syncfs(): Done {
    return 0;
  }

  reset(): void {
    this.#calls.abort();
    this.#granted.reset();
  }

  // the guest's kernel checks permissions, and sends none of these requests again after ENOSYS

  access(): Done {
    return ENOSYS;
  }

  getxattr(): Result<Uint8Array> {
    return ENOSYS;
  }

  listxattr(): Result<Uint8Array> {
    return ENOSYS;
  }

  setxattr(): Done {
    return ENOSYS;
  }

  removexattr(): Done {
    return ENOSYS;
  }

  lseek(): number {
    return -ENOSYS;
  }

  fallocate(): Done {
    return ENOSYS;
  }

  copyFileRange(): number {
    return -ENOSYS;
  }

  save(): Uint8Array {
    throw new Error('a share that is served by a program cannot be saved');
  }

  load(): void {
    throw new Error('a share that is served by a program cannot be restored');
  }

  /** Lists entries until the guest's buffer is full or there are no more. */
  #list(caller: Caller, from: { handle: Handle; offset: number }, sink: DirectorySink): Later<Done> {
    const { plus } = sink;
    const count = plus ? ENTRIES_PLUS : ENTRIES;
    return this.#outcome('readdir', caller, () => ({ ...from, count, plus })).chain((outcome) => {
      if ('error' in outcome) return Later.of(outcome.error);
      const entries = outcome.value;
      const last = entries.at(-1);
      const isAll = this.#add(entries, sink);
      if (last === undefined || !isAll) return Later.of(0);
      return this.#list(caller, { handle: from.handle, offset: last.next }, sink);
    });
  }

  /** Adds the entries that fit, and drops the references of the others. @returns true if all fit */
  #add(entries: readonly ListedEntry[], sink: DirectorySink): boolean {
    const first = entries.findIndex((entry) => {
      if (!sink.fits(entry.name.length)) return true;
      const { name, inode, type, next, found } = entry;
      sink.add({ name, inode, type, next: BigInt(next) }, found);
      return false;
    });
    if (first < 0) return true;
    for (const { found } of entries.slice(first)) if (found !== undefined) this.forget(found.node, 1);
    return false;
  }

  #dropPrivileges(caller: Caller, node: NodeId, kills: boolean): Later<Outcome<true>> {
    if (!kills) return Later.of(DONE);
    const change = { killsPrivileges: true };
    return this.#outcome('setattr', caller, () => ({ node, change })).map((outcome) =>
      // a provider without `setattr` has no such bits
      'error' in outcome && outcome.error !== EPERM ? outcome : DONE,
    );
  }

  #call<K extends OperationName>(
    name: K,
    caller: Caller,
    valueOf: () => ValueOf<K>,
  ): Later<ResultOf<K> | Done> {
    return this.#outcome(name, caller, valueOf).map((outcome) =>
      'error' in outcome ? outcome.error : outcome.value,
    );
  }

  #do<K extends OperationName>(name: K, caller: Caller, value: ValueOf<K>): Later<Done> {
    return this.#outcome(name, caller, () => value).map((outcome) =>
      'error' in outcome ? outcome.error : 0,
    );
  }

  #outcome<K extends OperationName>(
    name: K,
    caller: Caller,
    valueOf: () => ValueOf<K>,
  ): Later<Outcome<ResultOf<K>>> {
    this.#granted.requested();
    return this.#calls.call(name, caller, valueOf);
  }
}

const DONE: Outcome<true> = { value: true };

function placeValue({ parent, name }: Place): PlaceValue {
  return { parent, name: copyOf(name) };
}

/** Copies a name: the guest's request is used again once it is finished. */
function copyOf({ bytes }: Name): Uint8Array {
  return Uint8Array.from(bytes);
}
