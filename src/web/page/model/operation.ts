import { asRecord, asText, asTexts, isList, type Json } from './json.ts';

/** A request that the VMM serves asynchronously (`vmm.operations`). */
export interface Operation {
  readonly id: string;
  /** name of the request, e.g. `vm.snapshot` */
  readonly kind: string;
  readonly state: string;
  readonly canBeCancelled: boolean;
  /** current step; empty before the start */
  readonly phase: string;
  readonly done: number | undefined;
  readonly total: number | undefined;
  /** messages of a failure, outermost first */
  readonly error: readonly string[];
}

/** Reads the list of operations. */
export function readOperations(json: Json): Operation[] {
  return isList(json) ? json.map(readOperation) : [];
}

/** Reads one operation. */
export function readOperation(json: Json): Operation {
  const { id = null, kind = null, state = null, cancellable, progress = null, error } = asRecord(json);
  const { phase = null, done, total } = asRecord(progress);
  return {
    id: asText(id),
    kind: asText(kind),
    state: asText(state),
    canBeCancelled: cancellable === true,
    phase: asText(phase),
    done: typeof done === 'number' ? done : undefined,
    total: typeof total === 'number' ? total : undefined,
    error: asTexts(error),
  };
}

const ACTIVE: readonly string[] = ['queued', 'running'];

export function isActive({ state }: Operation): boolean {
  return ACTIVE.includes(state);
}
