import { constants } from 'node:fs';
import type { AttributeChange, Attributes, Timestamp } from '../fuse/file-system.ts';
import { nanosecondsOf, now, permissionsOf, typeOf } from './attributes.ts';
import { EEXIST, errnoOf, FsError } from './errors.ts';
import type { KnownNode } from './nodes.ts';
import { nameOf } from './names.ts';
import type { ChangeValue, PlaceValue, ResultOf, ValueOf } from './operations.ts';
import type { FsAttributeChange, FsContext, FsName, FsOpenMode, FsPlace } from './provider.ts';
import type { ProviderNodes } from './provider-nodes.ts';

const { O_WRONLY, O_RDWR, O_EXCL, O_TRUNC } = constants;

/** Flag of renameat2: the new name must be free. */
const RENAME_NOREPLACE = 1;

const READ_WRITE: FsOpenMode = { read: true, write: true };

const SET_USER_ID = 0o4000;
const SET_GROUP_ID = 0o2000;
const GROUP_EXECUTE = 0o0010;

/** Requests that open or change files. Each throws, or rejects with, an error for the guest. */
export class WriteOperations {
  readonly #on: ProviderNodes;

  constructor(on: ProviderNodes) {
    this.#on = on;
  }

  async open({ node: id, flags }: ValueOf<'open'>, context: FsContext): Promise<ResultOf<'open'>> {
    return this.#open(this.#fileOf(id), flags, context);
  }

  async create(
    { parent, name, mode, flags }: ValueOf<'create'>,
    context: FsContext,
  ): Promise<ResultOf<'create'>> {
    const { provider, files } = this.#on;
    const { directory, name: text } = this.#place({ parent, name });
    if (provider.create === undefined) throw this.#on.missing();
    files.requireOne();
    let node: unknown;
    try {
      node = await provider.create(directory, text, permissionsOf(mode), context);
    } catch (error) {
      if (errnoOf(error) !== EEXIST || (flags & O_EXCL) !== 0) throw error;
      return this.#openExisting(directory, text, { flags, context });
    }
    try {
      const entry = await this.#on.entryOf(node, context);
      const known = this.#on.nodes.get(entry.node);
      const handle = files.add({ kind: 'file', known, mode: READ_WRITE });
      return { ...entry, handle, isDirect: known.isUnsized };
    } catch (error) {
      await provider.close?.(node, READ_WRITE);
      throw error;
    }
  }

  async write({ node: id, offset, data }: ValueOf<'write'>, context: FsContext): Promise<true> {
    const { node } = this.#fileOf(id);
    if (this.#on.provider.write === undefined) throw this.#on.missing();
    await this.#on.provider.write(node, data, offset, context);
    return true;
  }

  async setattr({ node: id, change }: ValueOf<'setattr'>, context: FsContext): Promise<ResultOf<'setattr'>> {
    const known = this.#on.nodes.get(id);
    if (this.#on.provider.setattr === undefined) throw this.#on.missing();
    const changes = changeOf(change);
    const mode =
      change.killsPrivileges === true && change.mode === undefined
        ? withoutPrivileges(await this.#on.attributesOf(known, context))
        : undefined;
    if (mode !== undefined || Object.keys(changes).length > 0)
      await this.#on.provider.setattr(
        known.node,
        mode === undefined ? changes : { ...changes, mode },
        context,
      );
    return this.#on.attributesOf(known, context);
  }

  async mkdir({ mode, ...place }: ValueOf<'mkdir'>, context: FsContext): Promise<ResultOf<'mkdir'>> {
    const { directory, name } = this.#place(place);
    if (this.#on.provider.mkdir === undefined) throw this.#on.missing();
    const node = await this.#on.provider.mkdir(directory, name, permissionsOf(mode), context);
    return this.#on.entryOf(node, context);
  }

  async symlink({ target, ...place }: ValueOf<'symlink'>, context: FsContext): Promise<ResultOf<'symlink'>> {
    const { directory, name } = this.#place(place);
    if (this.#on.provider.symlink === undefined) throw this.#on.missing();
    const node = await this.#on.provider.symlink(directory, name, nameOf(target), context);
    return this.#on.entryOf(node, context);
  }

  async mknod(value: ValueOf<'mknod'>, context: FsContext): Promise<ResultOf<'mknod'>> {
    const { mode, device, ...at } = value;
    const { directory, name } = this.#place(at);
    const { provider } = this.#on;
    const type = typeOf(mode);
    const permissions = permissionsOf(mode);
    if (type === 'file') {
      if (provider.create === undefined) throw this.#on.missing();
      const node = await provider.create(directory, name, permissions, context);
      await provider.close?.(node, READ_WRITE);
      return this.#on.entryOf(node, context);
    }
    if (type === undefined || type === 'directory' || type === 'symlink') throw new FsError('EINVAL');
    if (provider.mknod === undefined) throw this.#on.missing();
    const node = await provider.mknod({ directory, name }, { type, mode: permissions, device }, context);
    return this.#on.entryOf(node, context);
  }

  async link({ node: id, to }: ValueOf<'link'>, context: FsContext): Promise<ResultOf<'link'>> {
    const { node, type } = this.#on.nodes.get(id);
    const { directory, name } = this.#place(to);
    if (this.#on.provider.link === undefined) throw this.#on.missing();
    if (type === 'directory') throw new FsError('EPERM');
    await this.#on.provider.link(node, directory, name, context);
    return this.#on.entryOf(node, context);
  }

  async unlink(place: ValueOf<'unlink'>, context: FsContext): Promise<true> {
    const { directory, name } = this.#place(place);
    if (this.#on.provider.unlink === undefined) throw this.#on.missing();
    await this.#on.provider.unlink(directory, name, context);
    return true;
  }

  async rmdir(place: ValueOf<'rmdir'>, context: FsContext): Promise<true> {
    const { directory, name } = this.#place(place);
    if (this.#on.provider.rmdir === undefined) throw this.#on.missing();
    await this.#on.provider.rmdir(directory, name, context);
    return true;
  }

  async rename({ from, to, flags }: ValueOf<'rename'>, context: FsContext): Promise<true> {
    const [source, target] = [this.#place(from), this.#place(to)];
    const { provider } = this.#on;
    if (provider.rename === undefined) throw this.#on.missing();
    if ((flags & ~RENAME_NOREPLACE) !== 0) throw new FsError('EINVAL');
    const isKept = (flags & RENAME_NOREPLACE) !== 0;
    if (isKept && (await provider.lookup(target.directory, target.name, context)) !== undefined)
      throw new FsError('EEXIST');
    await provider.rename(source, target, context);
    return true;
  }

  async sync(id: ValueOf<'sync'>, context: FsContext): Promise<true> {
    await this.#on.provider.sync?.(this.#on.nodes.get(id).node, context);
    return true;
  }

  /** Opens the file that another request created since the guest's lookup. */
  async #openExisting(
    directory: unknown,
    name: FsName,
    { flags, context }: { flags: number; context: FsContext },
  ): Promise<ResultOf<'create'>> {
    const node = await this.#on.provider.lookup(directory, name, context);
    if (node === undefined) throw new FsError('ENOENT');
    const entry = await this.#on.entryOf(node, context);
    try {
      const opened = await this.#open(this.#fileOf(entry.node), flags, context);
      return { ...entry, ...opened };
    } catch (error) {
      this.#on.nodes.forget(entry.node, 1);
      throw error;
    }
  }

  async #open(known: KnownNode, flags: number, context: FsContext): Promise<ResultOf<'open'>> {
    const { provider, files } = this.#on;
    const mode = openMode(flags);
    if (mode.write && provider.write === undefined) throw this.#on.missing();
    files.requireOne();
    await provider.open?.(known.node, mode, context);
    try {
      if (mode.write && (flags & O_TRUNC) !== 0) {
        if (provider.setattr === undefined) throw this.#on.missing();
        await provider.setattr(known.node, { size: 0 }, context);
      }
      // the guest does not get the result, so it would never release the handle
      if (context.signal.aborted) throw new FsError('EIO');
      return { handle: files.add({ kind: 'file', known, mode }), isDirect: known.isUnsized };
    } catch (error) {
      await provider.close?.(known.node, mode);
      throw error;
    }
  }

  #place({ parent, name }: PlaceValue): FsPlace<unknown> {
    return { directory: this.#on.nodes.getDirectory(parent).node, name: nameOf(name) };
  }

  #fileOf(id: number): KnownNode {
    const known = this.#on.nodes.get(id);
    if (known.type === 'directory') throw new FsError('EISDIR');
    if (known.type !== 'file') throw new FsError('EINVAL');
    return known;
  }
}

function openMode(flags: number): FsOpenMode {
  const access = flags & (O_WRONLY | O_RDWR);
  return { read: access !== O_WRONLY, write: access !== 0 };
}

function changeOf(change: ChangeValue): FsAttributeChange {
  const { size, mode, uid, gid, modified, accessed } = change;
  return {
    ...(size !== undefined && { size }),
    ...(mode !== undefined && { mode: permissionsOf(mode) }),
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
    ...(modified !== undefined && { modified: timeOf(modified) }),
    ...(accessed !== undefined && { accessed: timeOf(accessed) }),
  };
}

function timeOf(time: NonNullable<AttributeChange['modified']>): bigint {
  return time === 'now' ? now() : nanosecondsOf(time satisfies Timestamp);
}

/** Returns the permission bits without those that a write by another user removes; undefined where nothing is removed. */
function withoutPrivileges({ mode }: Attributes): number | undefined {
  const removed = SET_USER_ID | ((mode & GROUP_EXECUTE) === 0 ? 0 : SET_GROUP_ID);
  return (mode & removed) === 0 ? undefined : permissionsOf(mode & ~removed);
}
