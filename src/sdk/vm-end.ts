import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { Client } from './client.ts';
import { NotFoundError } from './errors.ts';
import type { VmmEnd } from './vmm-process.ts';

/** How a VM ended. */
export interface VmEnd extends VmmEnd {
  /**
   * `exit`: its VMM has ended, with this exit code or by this signal; after a power-off of the guest with exit code 0.
   * `shutdown`: a client has shut the VM down or deleted it, and the VMM runs on (exit code 0).
   * `crash`: QEMU has ended unexpectedly, e.g. was killed for want of memory, and the VMM runs on (exit code 1).
   */
  readonly reason: 'exit' | 'shutdown' | 'crash';
  /** What the VMM said of a crash. */
  readonly detail?: string;
}

/** What is looked at of an event. */
interface VmmEvent {
  readonly source?: unknown;
  readonly event?: unknown;
  readonly properties?: Readonly<Record<string, unknown>> | null;
}

/** How long the VMM may take to say in which state the VM is, in milliseconds. */
const ANSWER_MS = 5000;

/** What is known of a VM and its VMM. */
export interface VmSource {
  /** What happens to them, as `--event-monitor` records it. */
  readonly events: Readable;
  /** Whether there is no VM any more, or one that is shut down. */
  readonly isShutDown: () => Promise<boolean>;
  readonly vmmEnded: Promise<VmmEnd>;
}

/** Settles with the end of a VM, whatever its cause; never rejects. A reboot is no end. */
export function vmEnd({ events, isShutDown, vmmEnded }: VmSource): Promise<VmEnd> {
  return new Promise((resolve) => {
    let isEnding = false;
    let crash: string | undefined;
    void vmmEnded.then((end) => resolve({ ...end, reason: 'exit' }));
    const look = async (): Promise<void> => {
      // while the VMM ends, its exit code is what counts
      if (!(await isShutDown()) || isEnding) return;
      if (crash === undefined) resolve({ code: 0, signal: null, reason: 'shutdown' });
      else resolve({ code: 1, signal: null, reason: 'crash', detail: crash });
    };
    onEvents(events, ({ source, event, properties }) => {
      if (source === 'vmm' && event === 'shutdown') isEnding = true;
      if (source !== 'vm') return;
      if (event === 'booting' || event === 'restoring') crash = undefined;
      if (event === 'crashed') crash = String(properties?.['reason']);
      if (event === 'shutdown' || event === 'deleted') void look();
    });
  });
}

/** Asks a VMM whether its VM is shut down; false where it does not answer. */
export async function isShutDown(client: Client): Promise<boolean> {
  try {
    return (await client.call('vm.info', undefined, { timeoutMs: ANSWER_MS })).state === 'Shutdown';
  } catch (error) {
    return error instanceof NotFoundError;
  }
}

/** Calls `take` for each event: a JSON object and an empty line. */
function onEvents(events: Readable, take: (event: VmmEvent) => void): void {
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
  // the end of the VMM is told by the process
  events.on('error', () => undefined);
}

function isEvent(value: unknown): value is VmmEvent {
  return typeof value === 'object' && value !== null;
}
