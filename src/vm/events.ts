import { createLog } from '../util/log.ts';
import type { QmpEvent } from '../qemu/qmp.ts';

const log = createLog('event');

/** Something that a VM did by itself, for whoever follows it. */
export type VmEvent =
  /** its guest stopped feeding the watchdog: a reset follows */
  { readonly kind: 'watchdog' };

/** Called with each event, in order. */
export type OnVmEvent = (event: VmEvent) => void;

/** An engine's message as an event of the VM, where it is one. */
export function vmEventOf({ event }: QmpEvent): VmEvent | undefined {
  return event === 'WATCHDOG' ? { kind: 'watchdog' } : undefined;
}

/** Records an event in the log. */
export function logVmEvent({ kind }: VmEvent): void {
  switch (kind) {
    case 'watchdog':
      log.warn('watchdog: the guest no longer feeds it: the VM is reset');
      break;
  }
}
