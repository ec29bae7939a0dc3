import type { Handle, NodeId } from '../fuse/file-system.ts';
import type { Notice, OperationName, Outcome, ResultOf } from './operations.ts';

/**
 * The references and handles that results gave to the guest. A guest can drop no others: without it, a guest could fill the queue of
 * messages to the program by FORGET and RELEASE with numbers of its own.
 */
export class GrantedReferences {
  readonly #post: (notice: Notice) => void;
  readonly #nodes = new Map<NodeId, number>();
  readonly #handles = new Set<Handle>();
  /** the program has no state of the guest */
  #isClean = true;

  constructor(post: (notice: Notice) => void) {
    this.#post = post;
  }

  /** A request is sent: the program may have state of the guest from now on. */
  requested(): void {
    this.#isClean = false;
  }

  /** Counts the references of a result. */
  grant(outcome: Outcome<ResultOf<OperationName>>): void {
    if ('error' in outcome || typeof outcome.value !== 'object') return;
    const { value } = outcome;
    if ('handle' in value) this.#handles.add(value.handle);
    if ('node' in value) this.#add(value.node);
    if (isList(value)) for (const { found } of value) if (found !== undefined) this.#add(found.node);
  }

  forget(node: NodeId, count: number): void {
    const granted = this.#nodes.get(node);
    if (granted === undefined) return;
    if (granted > count) this.#nodes.set(node, granted - count);
    else this.#nodes.delete(node);
    this.#post({ name: 'forget', node, count: Math.min(count, granted) });
  }

  release(handle: Handle): void {
    if (this.#handles.delete(handle)) this.#post({ name: 'release', handle });
  }

  /** Drops all references of a result that the guest does not get. */
  revoke(outcome: Outcome<ResultOf<OperationName>>): void {
    this.grant(outcome);
    if ('error' in outcome || typeof outcome.value !== 'object') return;
    const { value } = outcome;
    if ('handle' in value) this.release(value.handle);
    if ('node' in value) this.forget(value.node, 1);
    if (isList(value)) for (const { found } of value) if (found !== undefined) this.forget(found.node, 1);
  }

  reset(): void {
    if (this.#isClean) return;
    this.#isClean = true;
    this.#nodes.clear();
    this.#handles.clear();
    this.#post({ name: 'reset' });
  }

  #add(node: NodeId): void {
    this.#nodes.set(node, (this.#nodes.get(node) ?? 0) + 1);
  }
}

function isList(value: object): value is ResultOf<'readdir'> {
  return Array.isArray(value);
}
