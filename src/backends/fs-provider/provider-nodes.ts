import type { Attributes, Entry } from '../fuse/file-system.ts';
import { completeAttributes } from './attributes.ts';
import { FsError } from './errors.ts';
import { InodeNumbers } from './inode-numbers.ts';
import { Nodes, type KnownNode } from './nodes.ts';
import { OpenFiles } from './open-files.ts';
import type { FsContext, FsProvider } from './provider.ts';

/** Methods that change a file system. */
const WRITES = [
  'write',
  'create',
  'mkdir',
  'symlink',
  'mknod',
  'link',
  'unlink',
  'rmdir',
  'rename',
  'setattr',
] as const;

/** The provider of a program, with the nodes and open files that the guest knows. */
export class ProviderNodes {
  readonly provider: FsProvider;
  readonly nodes: Nodes;
  readonly files: OpenFiles;
  readonly #numbers = new InodeNumbers();
  readonly #isReadOnly: boolean;

  /** @param onFault receives errors of calls whose result the guest does not wait for */
  constructor(provider: FsProvider, onFault: (error: unknown) => void) {
    this.provider = provider;
    this.#isReadOnly = WRITES.every((name) => provider[name] === undefined);
    const attempt = (act: () => unknown): void => {
      Promise.resolve().then(act).catch(onFault);
    };
    this.nodes = new Nodes(provider.root, (node) => attempt(() => provider.forget?.(node)));
    this.files = new OpenFiles(this.nodes, ({ known, mode }) =>
      attempt(() => provider.close?.(known.node, mode)),
    );
  }

  /** Returns the error for a method that the provider does not have. */
  missing(): FsError {
    return new FsError(this.#isReadOnly ? 'EROFS' : 'EPERM');
  }

  /** Returns the attributes of a node that the guest knows. */
  async attributesOf(known: KnownNode, context: FsContext): Promise<Attributes> {
    const attributes = await this.provider.getattr(known.node, context);
    const complete = completeAttributes(attributes, attributes.inode ?? this.#numbers.numberOf(known.node));
    known.type = attributes.type;
    known.isUnsized = attributes.type === 'file' && attributes.size === undefined;
    return complete;
  }

  /** Returns an entry for the guest, which holds a reference to its node from now on. */
  async entryOf(node: unknown, context: FsContext): Promise<Entry> {
    const attributes = await this.provider.getattr(node, context);
    const complete = completeAttributes(attributes, attributes.inode ?? this.#numbers.numberOf(node));
    // the guest does not get the result, so it would never drop the reference
    if (context.signal.aborted) throw new FsError('EIO');
    const { type, size } = attributes;
    const { id } = this.nodes.reference(node, { type, isUnsized: type === 'file' && size === undefined });
    return { node: id, attributes: complete };
  }

  reset(): void {
    this.files.reset();
    this.nodes.reset();
  }
}
