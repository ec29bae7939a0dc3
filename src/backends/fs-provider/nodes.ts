import { ROOT, type NodeId } from '../fuse/file-system.ts';
import { FsError } from './errors.ts';
import type { FsType } from './provider.ts';

/** Most nodes that a guest can know; one more fails with ENFILE. */
const MAX_NODES = 2_000_000;

/** A node of a provider that the guest knows. */
export interface KnownNode {
  readonly id: NodeId;
  /** the provider's value */
  readonly node: unknown;
  /** references of the guest */
  references: number;
  /** open files and directories */
  opened: number;
  type: FsType;
  /** the file has no size: the guest reads it until its end */
  isUnsized: boolean;
}

/**
 * The nodes that the guest knows. Numbers are never used again, also after a reset: a request that was sent before it must not
 * reach another node.
 */
export class Nodes {
  readonly #byId = new Map<NodeId, KnownNode>();
  readonly #byNode = new Map<unknown, KnownNode>();
  readonly #onForgotten: (node: unknown) => void;
  #nextId: NodeId = ROOT + 1;

  constructor(root: unknown, onForgotten: (node: unknown) => void) {
    this.#onForgotten = onForgotten;
    this.#insert({ id: ROOT, node: root, references: 1, opened: 0, type: 'directory', isUnsized: false });
  }

  /** number of nodes, with the root */
  get size(): number {
    return this.#byId.size;
  }

  /** @throws FsError with ESTALE where the guest does not know the node */
  get(id: NodeId): KnownNode {
    const known = this.#byId.get(id);
    if (known === undefined) throw new FsError('ESTALE', `no node ${id}`);
    return known;
  }

  /** @throws FsError where the guest does not know the node, or it is no directory */
  getDirectory(id: NodeId): KnownNode {
    const known = this.get(id);
    if (known.type !== 'directory') throw new FsError('ENOTDIR');
    return known;
  }

  /** Adds a reference of the guest to a node. @throws FsError where the guest knows too many */
  reference(node: unknown, facts: { type: FsType; isUnsized: boolean }): KnownNode {
    const known = this.#byNode.get(node);
    if (known !== undefined) {
      if (known.id !== ROOT) known.references++;
      return Object.assign(known, facts);
    }
    if (this.#byId.size >= MAX_NODES) throw new FsError('ENFILE');
    return this.#insert({ id: this.#nextId++, node, references: 1, opened: 0, ...facts });
  }

  /** Drops references of the guest. */
  forget(id: NodeId, count: number): void {
    const known = this.#byId.get(id);
    if (known === undefined || id === ROOT) return;
    known.references = Math.max(0, known.references - count);
    this.dropUnused(known);
  }

  /** Drops a node that the guest holds neither by name nor open. */
  dropUnused(known: KnownNode): void {
    if (known.references > 0 || known.opened > 0 || known.id === ROOT) return;
    if (this.#byId.get(known.id) !== known) return;
    this.#byId.delete(known.id);
    this.#byNode.delete(known.node);
    this.#onForgotten(known.node);
  }

  /** Drops all nodes but the root. */
  reset(): void {
    for (const known of this.#byId.values()) {
      known.references = 0;
      known.opened = 0;
      this.dropUnused(known);
    }
  }

  #insert(known: KnownNode): KnownNode {
    this.#byId.set(known.id, known);
    this.#byNode.set(known.node, known);
    return known;
  }
}
