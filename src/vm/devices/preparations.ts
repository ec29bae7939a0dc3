import type { HandoverState } from '../../backends/vsock/thread-messages.ts';
import { ApiError } from '../../api/errors.ts';
import type { VmCounters } from '../../api/replies.ts';
import type { AnyConfig } from '../../devices/device.ts';
import type { Placement } from '../../plan/placement.ts';
import { createLog } from '../../util/log.ts';
import { reasonOf } from '../../util/errno.ts';
import type { SavedImage } from './disk/expected-image.ts';
import { PREPARERS } from './index.ts';
import type { PrepareContext, Prepared } from './prepare.ts';

const log = createLog('host');

/** Host resources of the devices of one machine: opened, made and released here. */
export interface Preparations {
  /**
   * Prepares one device, whose back-end `startBackEnds` starts. Rejects with ApiError `failed` naming it, and leaves nothing behind.
   */
  readonly begin: (placement: Placement, context: Omit<PrepareContext, 'id'>) => Promise<void>;
  /** Starts the back-ends, and settles when all run. Rejects with ApiError `failed` naming a device; all must be released then. */
  readonly startBackEnds: () => Promise<void>;
  /** Prepares one device and waits for its back-end. Rejects with ApiError `failed` naming it, and leaves nothing behind. */
  readonly add: (placement: Placement, context: Omit<PrepareContext, 'id'>) => Promise<void>;
  /** Returns the inputs of the devices' plans, by id. */
  readonly facts: () => ReadonlyMap<string, unknown>;
  /** Returns a device's configuration, completed with host facts. */
  readonly completed: (placement: Placement) => AnyConfig;
  /** Returns the images of devices that have one, by id. */
  readonly images: () => ReadonlyMap<string, SavedImage>;
  /** Returns the host's counters of devices, by id; devices without counters are absent. */
  readonly counters: () => VmCounters;
  /** Returns the state of a vsock device's streams; see `VsockHost`. */
  readonly handoverState: (id: string) => Promise<HandoverState | undefined>;
  /** Connects a vsock device again and replaces its facts; see `VsockHost`. */
  readonly reconnect: (id: string, previous: HandoverState | undefined) => Promise<void>;
  /** Releases the resources of one device. */
  readonly release: (id: string) => Promise<void>;
  /** Releases all resources, the newest first. */
  readonly releaseAll: () => Promise<void>;
}

/** Returns an empty set of resources. */
export function createPreparations(): Preparations {
  const prepared = new Map<string, Prepared>();
  const release = async (id: string): Promise<void> => {
    const one = prepared.get(id);
    prepared.delete(id);
    try {
      await within(Promise.resolve(one?.release?.()));
    } catch (error) {
      // the other resources must still be released
      log.warn(`${id}: could not be released: ${reasonOf(error)}`);
    }
  };
  const begin: Preparations['begin'] = async (placement, context) => {
    prepared.set(placement.id, await prepare(placement, context));
  };
  return {
    begin,
    startBackEnds: async () => {
      await Promise.all([...prepared.values()].map(async ({ start }) => start?.()));
    },
    add: async (placement, context) => {
      await begin(placement, context);
      try {
        await prepared.get(placement.id)?.start?.();
      } catch (error) {
        await release(placement.id);
        throw error;
      }
    },
    facts: () => new Map([...prepared].map(([id, { facts }]) => [id, facts])),
    completed: ({ id, config }) => prepared.get(id)?.config ?? config,
    images: () =>
      new Map([...prepared].flatMap(([id, { image }]) => (image === undefined ? [] : [[id, image]]))),
    counters: () =>
      Object.fromEntries(
        [...prepared].flatMap(([id, { counters }]) =>
          counters === undefined ? [] : [[id, { ...counters() }]],
        ),
      ),
    handoverState: async (id) => prepared.get(id)?.vsock?.handoverState(),
    reconnect: async (id, previous) => {
      const one = prepared.get(id);
      if (one?.vsock !== undefined) prepared.set(id, { ...one, facts: await one.vsock.reconnect(previous) });
    },
    release,
    releaseAll: async () => {
      for (const id of [...prepared.keys()].toReversed()) await release(id);
    },
  };
}

/** Time limit of a release, in milliseconds: a file on a disk that hangs must not delay the shutdown of a VM. */
const RELEASE_MS = 2000;

async function within(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took longer than ${RELEASE_MS / 1000} s`)), RELEASE_MS);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function prepare(placement: Placement, context: Omit<PrepareContext, 'id'>): Promise<Prepared> {
  const { device, config, id } = placement;
  const preparer = PREPARERS.find(({ member }) => member === device.member);
  if (preparer === undefined) return { facts: undefined };
  const fail = (error: unknown): never => {
    throw failure(placement, error);
  };
  const prepared = await Promise.resolve()
    .then(() => preparer.prepare(config, { ...context, id }))
    .catch(fail);
  const { start } = prepared;
  return start === undefined ? prepared : { ...prepared, start: () => start().catch(fail) };
}

function failure({ device, id }: Placement, error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError('failed', `${device.flag ?? device.member} ${id}: ${reasonOf(error)}`, {
    cause: error,
  });
}
