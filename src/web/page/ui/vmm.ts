import { readOperations } from '../model/operation.ts';
import { readDocument } from '../model/document.ts';
import { asRecord, asText, type Json, type JsonRecord } from '../model/json.ts';
import { titleOf } from '../model/format.ts';
import { withRecent } from '../model/recent.ts';
import { figuresBetween, readSample, type Sample } from '../model/samples.ts';
import { cancel, get, put, RequestError } from './api.ts';
import { followEvents } from './events.ts';
import type { Store } from './store.ts';

/** The VMM as the page uses it: requests, and a state that is kept up to date. */
export interface Vmm {
  readonly store: Store;
  /** Sends a request of a user, and shows its outcome. `onSuccess` is called after a success. */
  readonly send: (name: string, body?: Json, onSuccess?: () => void) => void;
  readonly cancelOperation: (id: string) => void;
}

const POLL_MS = 1000;
/** Least time between two figures, in ms: rates over less are rough. */
const SAMPLE_MS = 900;
/** Figures of the last two minutes. */
const FIGURES_MAX = 120;
const EVENTS_MAX = 200;

/** Begins to follow the VMM. A hidden page sends no request. */
export function followVmm(store: Store): Vmm {
  const poll = createPoll(store);
  followEvents((event) => {
    // the progress of operations has a place of its own
    if (event.event !== 'operation')
      store.change({ events: withRecent(store.read().events, event, EVENTS_MAX) });
    poll.now();
  });
  document.addEventListener('visibilitychange', () => poll.now());
  poll.now();
  const show = (isError: boolean, text: string): void => store.change({ outcome: { isError, text } });
  const showError = (error: unknown): void => show(true, messageOf(error));
  const cancelOperation = (id: string): void => {
    cancel(id).catch(showError).finally(poll.now);
  };
  const send: Vmm['send'] = (name, body, onSuccess) => {
    const run = async (): Promise<void> => {
      show(false, `${titleOf(name)} …`);
      await put(name, body);
      show(false, `${titleOf(name)}: done`);
      onSuccess?.();
    };
    run().catch(showError).finally(poll.now);
  };
  return { store, send, cancelOperation };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Reads the state once a second, and at once if asked: one read at a time. */
function createPoll(store: Store): { readonly now: () => void } {
  let timer: number | undefined;
  let last: Sample | undefined;
  let isReading = false;
  let isAsked = false;
  const readOnce = async (): Promise<void> => {
    last = await readState(store, last);
  };
  const read = (): void => {
    isReading = true;
    isAsked = false;
    readOnce()
      .catch((error: unknown) => showFault(store, error))
      .finally(() => {
        isReading = false;
        plan(isAsked ? 0 : POLL_MS);
      });
  };
  const plan = (ms: number): void => {
    window.clearTimeout(timer);
    if (document.visibilityState === 'hidden') return;
    timer = window.setTimeout(read, ms);
  };
  const now = (): void => {
    isAsked = true;
    if (!isReading) plan(0);
  };
  return { now };
}

/** Reads the state and the figures. Returns the sample for the next figures. */
async function readState(store: Store, last: Sample | undefined): Promise<Sample> {
  await readDocumentOnce(store);
  const info = await readInfo();
  const phase = info === undefined ? 'none' : asText(info['state']);
  const isBooted = phase === 'Running' || phase === 'Paused';
  const [usage, counters, operations] = await Promise.all([
    get('vmm.usage'),
    // the VM may be shut down meanwhile
    isBooted ? get('vm.counters').catch(() => null) : null,
    get('vmm.operations'),
  ]);
  store.change({ connection: 'open', phase, info, counters, operations: readOperations(operations) });
  const sample = readSample(usage, counters);
  if (last !== undefined && sample.timeMs - last.timeMs < SAMPLE_MS) return last;
  addFigures(store, last, sample);
  return sample;
}

function showFault(store: Store, error: unknown): void {
  const isRefused = error instanceof RequestError && (error.status === 401 || error.status === 403);
  store.change({ connection: isRefused ? 'refused' : 'lost' });
}

function addFigures(store: Store, last: Sample | undefined, sample: Sample): void {
  if (last === undefined) return;
  const figures = { ...figuresBetween(last, sample), seconds: Date.now() / 1000 };
  store.change({ figures: withRecent(store.read().figures, figures, FIGURES_MAX) });
}

async function readDocumentOnce(store: Store): Promise<void> {
  if (store.read().document !== undefined) return;
  const [document, ping] = await Promise.all([get('openapi-everything.json'), get('vmm.ping')]);
  store.change({ document: readDocument(document), version: asText(asRecord(ping)['build_version']) });
}

/** Returns the answer of vm.info; undefined without a VM. */
async function readInfo(): Promise<JsonRecord | undefined> {
  try {
    return asRecord(await get('vm.info'));
  } catch (error) {
    if (error instanceof RequestError && error.status === 404) return undefined;
    throw error;
  }
}
