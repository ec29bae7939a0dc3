import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { Client } from './client.ts';
import { NotFoundError } from './errors.ts';
import type { VmmEnd } from './vmm-process.ts';

/** Values of {@link VmEnd.cause}. */
export type VmEndCause = 'power-off' | 'reset' | 'panic' | 'shutdown' | 'crash' | 'killed' | 'gone';

/** Reason why a VM ended. */
export interface VmEnd extends VmmEnd {
  /**
   * `exit`: the VMM exited, with `code` or `signal`; code 0 after the guest's power-off.
   * `shutdown`: a client shut the VM down or deleted it; the VMM still runs (`code` is 0).
   * `crash`: QEMU exited unexpectedly, e.g. by the OOM killer; the VMM still runs (`code` is 1).
   */
  readonly reason: 'exit' | 'shutdown' | 'crash';
  /**
   * Cause in the guest or on the host. The member is not enumerable: ends compare and print as without it.
   *
   * - `power-off`: the guest powered itself off, or a client ended the VMM with vmm.shutdown
   * - `reset`: the guest reset itself, with `--on-reboot exit`
   * - `panic`: the guest's kernel panicked, and reported it by pvpanic
   * - `shutdown`: a client shut the VM down or deleted it, or with `--no-shutdown` the guest powered itself off
   * - `crash`: QEMU or the VMM failed
   * - `killed`: a signal ended QEMU or the VMM
   * - `gone`: the VMM of another process ended
   */
  readonly cause?: VmEndCause;
  /** Reason of a crash, from the VMM */
  readonly detail?: string;
}

/** Used members of an event. */
interface VmmEvent {
  readonly source?: unknown;
  readonly event?: unknown;
  readonly properties?: Readonly<Record<string, unknown>> | null;
}

/** Time limit of vm.info, in milliseconds. */
const ANSWER_MS = 5000;

/** Sources of information about a VM and its VMM. */
export interface VmSource {
  /** Events in the format of `--event-monitor` */
  readonly events: Readable;
  /** Returns true if the VM is shut down or deleted */
  readonly isShutDown: () => Promise<boolean>;
  readonly vmmEnded: Promise<VmmEnd>;
}

/** Settles when a VM has ended, for any reason. Never rejects. A reboot does not end a VM. */
export function vmEnd({ events, isShutDown, vmmEnded }: VmSource): Promise<VmEnd> {
  return new Promise((resolve) => {
    const seen: SeenEvents = { isEnding: false, crash: undefined, hasPanicked: false, hasReset: false };
    vmmEnded
      .then((end) => resolve(withCause({ ...end, reason: 'exit' }, causeOfExit(end, seen))))
      .catch(() => undefined);
    const checkState = async (): Promise<void> => {
      // while the VMM shuts down, its exit code decides
      if (!(await isShutDown()) || seen.isEnding) return;
      const { crash } = seen;
      if (crash === undefined)
        return resolve(withCause({ code: 0, signal: null, reason: 'shutdown' }, 'shutdown'));
      const cause = /\bSIG(?:KILL|TERM)\b/.test(crash) ? 'killed' : 'crash';
      resolve(withCause({ code: 1, signal: null, reason: 'crash', detail: crash }, cause));
    };
    onEvents(events, (event) => {
      noteEvent(seen, event);
      if (event.source !== 'vm') return;
      if (event.event === 'shutdown' || event.event === 'deleted') checkState().catch(() => undefined);
    });
  });
}

/** Facts of the events so far. */
interface SeenEvents {
  isEnding: boolean;
  crash: string | undefined;
  hasPanicked: boolean;
  hasReset: boolean;
}

function noteEvent(seen: SeenEvents, { source, event, properties }: VmmEvent): void {
  if (source === 'vmm' && event === 'shutdown') seen.isEnding = true;
  if (source === 'guest' && event === 'panic') seen.hasPanicked = true;
  if (source === 'guest' && event === 'reset') seen.hasReset = true;
  if (source !== 'vm') return;
  if (event === 'booting' || event === 'restoring')
    Object.assign(seen, { crash: undefined, hasPanicked: false });
  if (event === 'crashed') seen.crash = String(properties?.['reason']);
}

function causeOfExit({ code, signal }: VmmEnd, { hasPanicked, hasReset }: SeenEvents): VmEndCause {
  if (signal !== null) return 'killed';
  if (hasPanicked) return 'panic';
  if (code !== 0) return 'crash';
  return hasReset ? 'reset' : 'power-off';
}

/** Adds the cause, which earlier versions did not have. */
export function withCause(end: Omit<VmEnd, 'cause'>, cause: VmEndCause): VmEnd {
  return Object.defineProperty({ ...end }, 'cause', { value: cause });
}

/** Returns true if the VM of a VMM is shut down or deleted; false without an answer. */
export async function isShutDown(client: Client): Promise<boolean> {
  try {
    return (await client.call('vm.info', undefined, { timeoutMs: ANSWER_MS })).state === 'Shutdown';
  } catch (error) {
    return error instanceof NotFoundError;
  }
}

/** Calls `take` for each event: a JSON object and an empty line. */
export function onEvents(events: Readable, take: (event: VmmEvent) => void): void {
  const decoder = new StringDecoder('utf8');
  let text = '';
  events.on('data', (bytes: Buffer) => {
    text += decoder.write(bytes);
    const texts = text.split('\n\n');
    text = texts.pop() ?? '';
    for (const one of texts) {
      const event: unknown = JSON.parse(one);
      if (isEvent(event)) take(event);
    }
  });
  // the exit of the process reports the rest
  events.on('error', () => undefined);
}

function isEvent(value: unknown): value is VmmEvent {
  return typeof value === 'object' && value !== null;
}
