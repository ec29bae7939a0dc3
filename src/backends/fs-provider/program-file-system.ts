import { EIO, errnoOf } from './errors.ts';
import type { Notice, Operation, OperationName, Outcome, ResultOf, ValueOf } from './operations.ts';
import type { FsContext, FsProvider } from './provider.ts';
import { ProviderNodes } from './provider-nodes.ts';
import { ReadOperations } from './read-operations.ts';
import { WriteOperations } from './write-operations.ts';

type Handlers = {
  readonly [K in OperationName]: (
    value: ValueOf<K>,
    context: FsContext,
  ) => ResultOf<K> | Promise<ResultOf<K>>;
};

/** Receives an error of a provider that has no code: the guest gets EIO. */
export type OnFault = (error: unknown, operation: string) => void;

/** The file system of a program: performs requests by calls of a provider. */
export class ProgramFileSystem {
  readonly #on: ProviderNodes;
  readonly #handlers: Handlers;
  readonly #onFault: OnFault;

  constructor(provider: FsProvider, onFault: OnFault) {
    this.#onFault = onFault;
    this.#on = new ProviderNodes(provider, (error) => onFault(error, 'close'));
    this.#handlers = handlersOf(new ReadOperations(this.#on), new WriteOperations(this.#on));
  }

  /** number of nodes that the guest knows, with the root */
  get knownNodes(): number {
    return this.#on.nodes.size;
  }

  /** number of files and directories that the guest has opened */
  get openFiles(): number {
    return this.#on.files.size;
  }

  /** Performs a request. Never rejects. */
  async run<K extends OperationName>(
    operation: Operation<K>,
    signal: AbortSignal,
  ): Promise<Outcome<ResultOf<K>>> {
    const { name, value, caller } = operation;
    try {
      return { value: await this.#handlers[name](value, { signal, ...caller }) };
    } catch (error) {
      const number = errnoOf(error);
      if (number === undefined && !signal.aborted) this.#onFault(error, name);
      return { error: number ?? EIO };
    }
  }

  /** Acts on a message without a result. */
  notice(notice: Notice): void {
    switch (notice.name) {
      case 'forget':
        return this.#on.nodes.forget(notice.node, notice.count);
      case 'release':
        return this.#on.files.release(notice.handle);
      case 'reset':
        return this.#on.reset();
    }
  }
}

function handlersOf(reads: ReadOperations, writes: WriteOperations): Handlers {
  return {
    lookup: (value, context) => reads.lookup(value, context),
    getattr: (value, context) => reads.getattr(value, context),
    readlink: (value, context) => reads.readlink(value, context),
    read: (value, context) => reads.read(value, context),
    opendir: (value) => reads.opendir(value),
    readdir: (value, context) => reads.readdir(value, context),
    statfs: (value, context) => reads.statfs(value, context),
    open: (value, context) => writes.open(value, context),
    create: (value, context) => writes.create(value, context),
    write: (value, context) => writes.write(value, context),
    setattr: (value, context) => writes.setattr(value, context),
    mkdir: (value, context) => writes.mkdir(value, context),
    symlink: (value, context) => writes.symlink(value, context),
    mknod: (value, context) => writes.mknod(value, context),
    link: (value, context) => writes.link(value, context),
    unlink: (value, context) => writes.unlink(value, context),
    rmdir: (value, context) => writes.rmdir(value, context),
    rename: (value, context) => writes.rename(value, context),
    sync: (value, context) => writes.sync(value, context),
  };
}
