import type { Readable } from 'node:stream';
import { listenForNotify } from '../../sdk/notify/listener.ts';
import type { NotifyMessage } from '../../sdk/notify/message.ts';
import { onEvents } from '../../sdk/vm-end.ts';
import { deferred } from '../../util/deferred.ts';
import { RunError } from '../errors.ts';

/*
 * Reports and resets of a guest with an operating system of its own. The reports are those of its service manager (`vmm.notify_socket`),
 * the resets are events of the VMM, which boots the guest again.
 *
 * States: booting, ready, shutting down. A reset begins a boot. Resets without readiness between them are counted: a guest in a reset loop
 * never becomes ready, and has failed.
 */

/** Resets in a row after which a guest has failed. Firmware and boot loaders reset once or twice at the first boot of an image. */
export const RESETS_MAX = 3;

/** Boot of a guest. */
export interface GuestBoot {
  /** Settles when the service manager reports that all of its jobs are done */
  readonly ready: Promise<undefined>;
  /** Last text about the progress */
  readonly status: () => string | undefined;
  /** Aborted by the next reset */
  readonly over: AbortSignal;
}

/** Reports and resets of one VM. */
export interface GuestWatch extends AsyncDisposable {
  /** Returns the boot of this moment. */
  readonly boot: () => GuestBoot;
  readonly isShuttingDown: () => boolean;
  /** Marks the guest as ready, where it was seen to be by other means than its reports. */
  readonly markReady: () => void;
  /** Follows the events of the VMM. `begins`: its VM boots, or continues a guest that has booted. */
  readonly follow: (events: Readable, begins: 'boot' | 'restore') => void;
}

/** Consumers of reports. */
export interface GuestWatchOptions {
  readonly onReport: (message: NotifyMessage) => void;
  /** Called for a reset loop */
  readonly onFailed: (error: RunError) => void;
}

/**
 * Listens for the reports of a guest. It must listen before the VM boots: the service manager sends each message once.
 * @param vsockPath path of the UNIX socket of the VM's vsock
 */
export async function watchGuest(
  vsockPath: string,
  { onReport, onFailed }: GuestWatchOptions,
): Promise<GuestWatch> {
  let boot = beginBoot();
  let resets = 0;
  const markReady = (): void => {
    resets = 0;
    boot.markReady();
  };
  const listener = await listenForNotify(vsockPath, (message) => {
    boot.take(message);
    if (message.isReady === true) markReady();
    onReport(message);
  });
  const onReset = (): void => {
    boot.end();
    boot = beginBoot();
    resets += 1;
    if (resets >= RESETS_MAX)
      onFailed(new RunError('crashed', `the guest was reset ${resets} times in a row before it was ready`));
  };
  return {
    boot: () => boot.state,
    isShuttingDown: () => boot.isShuttingDown(),
    markReady,
    follow: (events, begins) => {
      let isFirst = begins === 'boot';
      onEvents(events, ({ source, event }) => {
        if (source !== 'vm' || event !== 'booting') return;
        if (!isFirst) onReset();
        isFirst = false;
      });
    },
    [Symbol.asyncDispose]: async () => {
      boot.end();
      await listener[Symbol.asyncDispose]();
    },
  };
}

/** Targets of systemd that are left at the begin of a shutdown (bootup(7)). */
const LEFT_AT_SHUTDOWN = new Set(['multi-user.target', 'graphical.target', 'ssh-access.target']);

function beginBoot() {
  const { promise: ready, resolve } = deferred<undefined>();
  const over = new AbortController();
  let [status, isShuttingDown]: [string | undefined, boolean] = [undefined, false];
  return {
    state: { ready, status: () => status, over: over.signal } satisfies GuestBoot,
    isShuttingDown: () => isShuttingDown,
    markReady: () => resolve(undefined),
    end: () => over.abort(),
    take: (message: NotifyMessage) => {
      status = message.status ?? status;
      if (message.shutdown !== undefined || LEFT_AT_SHUTDOWN.has(message.left ?? '')) isShuttingDown = true;
    },
  };
}
