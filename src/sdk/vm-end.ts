import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { Client } from './client.ts';
import { NotFoundError } from './errors.ts';
import type { VmmEnd } from './vmm-process.ts';

/** Reason why a VM ended. */
export interface VmEnd extends VmmEnd {
  /**
   * `exit`: the VMM exited, with `code` or `signal`; code 0 after the guest's power-off.
   * `shutdown`: a client shut the VM down or deleted it; the VMM still runs (`code` is 0).
   * `crash`: QEMU exited unexpectedly, e.g. by the OOM killer; the VMM still runs (`code` is 1).
   */
  readonly reason: 'exit' | 'shutdown' | 'crash';
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
    let isEnding = false;
    let crash: string | undefined;
    vmmEnded.then((end) => resolve({ ...end, reason: 'exit' })).catch(() => undefined);
    const checkState = async (): Promise<void> => {
      // while the VMM shuts down, its exit code decides
      if (!(await isShutDown()) || isEnding) return;
      if (crash === undefined) resolve({ code: 0, signal: null, reason: 'shutdown' });
      else resolve({ code: 1, signal: null, reason: 'crash', detail: crash });
    };
    onEvents(events, ({ source, event, properties }) => {
      if (source === 'vmm' && event === 'shutdown') isEnding = true;
      if (source !== 'vm') return;
      if (event === 'booting' || event === 'restoring') crash = undefined;
      if (event === 'crashed') crash = String(properties?.['reason']);
      if (event === 'shutdown' || event === 'deleted') checkState().catch(() => undefined);
    });
  });
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
