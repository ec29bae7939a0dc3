import type { ApiDocument } from '../model/document.ts';
import type { Json, JsonRecord } from '../model/json.ts';
import type { Operation } from '../model/operation.ts';
import type { Figures } from '../model/samples.ts';
import type { VmmEvent } from '../model/vmm-event.ts';

/** Connection to the VMM. `lost`: it has exited, or cannot be reached; `refused`: without the token or its cookie. */
export type Connection = 'connecting' | 'open' | 'refused' | 'lost';

/** Figures of a moment; the time is in seconds since the epoch. */
export interface TimedFigures extends Figures {
  readonly seconds: number;
}

/** Everything that the page shows. */
export interface PageState {
  readonly connection: Connection;
  /** state of the VM, `none` without one; undefined until the first answer */
  readonly phase: string | undefined;
  /** answer of vm.info */
  readonly info: JsonRecord | undefined;
  readonly document: ApiDocument | undefined;
  readonly version: string;
  readonly events: readonly VmmEvent[];
  readonly figures: readonly TimedFigures[];
  /** counters by device, as vm.counters has them */
  readonly counters: Json;
  /** queued, running and recent operations */
  readonly operations: readonly Operation[];
  /** outcome of the last request that a user sent */
  readonly outcome: Outcome | undefined;
}

export interface Outcome {
  readonly isError: boolean;
  readonly text: string;
}

export const EMPTY: PageState = {
  connection: 'connecting',
  phase: undefined,
  info: undefined,
  document: undefined,
  version: '',
  events: [],
  figures: [],
  counters: null,
  operations: [],
  outcome: undefined,
};

/** The state of the page, and its readers. */
export interface Store {
  readonly read: () => PageState;
  readonly change: (members: Partial<PageState>) => void;
  /** @returns a function that ends the subscription */
  readonly subscribe: (onChange: () => void) => () => void;
}

export function createStore(): Store {
  let state = EMPTY;
  const readers = new Set<() => void>();
  return {
    read: () => state,
    change: (members) => {
      state = { ...state, ...members };
      for (const reader of readers) reader();
    },
    subscribe: (onChange) => {
      readers.add(onChange);
      return () => readers.delete(onChange);
    },
  };
}
