import { once } from 'node:events';
import type { Guest } from '../../guest/guest.ts';
import { deferred } from '../../util/deferred.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import type { GuestReboots } from '../owner/start-guest.ts';
import type { GuestWatch } from './guest-watch.ts';

const log = createLog('disk');

/** Connects to a guest when it has booted. @throws ReadyError, GuestError */
export type Reconnect = (signal: AbortSignal) => Promise<Guest>;

/** Connects to a guest again after each reset, until it is disposed of, which closes the latest connection. */
export function followReboots(
  watch: Pick<GuestWatch, 'boot' | 'markReady' | 'isShuttingDown'>,
  first: Guest,
  reconnect: Reconnect,
): GuestReboots & AsyncDisposable {
  const ended = new AbortController();
  let guest = first;
  let isReady = true;
  let ready = deferred<Guest>();
  ready.resolve(first);
  const follow = async (): Promise<void> => {
    for (let boot = watch.boot(); ;) {
      await aborted(boot.over, ended.signal);
      if (ended.signal.aborted) return;
      // a reset during the attempt ends it, and is followed at once
      boot = watch.boot();
      if (isReady) ready = deferred();
      isReady = false;
      await guest[Symbol.asyncDispose]();
      try {
        guest = await reconnect(AbortSignal.any([boot.over, ended.signal]));
        isReady = true;
        watch.markReady();
        ready.resolve(guest);
      } catch (error) {
        log.info(`no connection after a reset: ${reasonOf(error)}`);
      }
    }
  };
  const following = follow();
  following.catch(() => undefined);
  return {
    guest: () => guest,
    nextReset: () => aborted(watch.boot().over),
    ready: () => ready.promise,
    isShuttingDown: watch.isShuttingDown,
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      await following;
      await guest[Symbol.asyncDispose]();
    },
  };
}

/** Settles when one of the signals is aborted. */
async function aborted(...signals: readonly AbortSignal[]): Promise<void> {
  const any = AbortSignal.any([...signals]);
  if (!any.aborted) await once(any, 'abort');
}
