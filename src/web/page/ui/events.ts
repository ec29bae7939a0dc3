import { parseJson } from '../model/json.ts';
import { readEvent, type VmmEvent } from '../model/vmm-event.ts';
import { createMessageReader } from '../model/server-sent-events.ts';

/** Time until a stream that has ended is opened again, in ms. */
const RETRY_MS = 1000;

/**
 * Follows the events of the VMM, from the oldest one that it keeps. Browsers allow six connections to one host: a hidden tab uses
 * none, and reads the events in between when it is visible again. An `EventSource` would need the name of each event.
 */
export function followEvents(onEvent: (event: VmmEvent) => void): void {
  let last = '0';
  let open: AbortController | undefined;
  const follow = async (signal: AbortSignal): Promise<void> => {
    const answer = await fetch(`/api/v1/vmm.events?after=${encodeURIComponent(last)}`, { signal });
    if (!answer.ok || answer.body === null) return;
    const read = createMessageReader();
    const texts = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await texts.read(); !part.done; part = await texts.read()) {
      for (const message of read(part.value)) {
        last = message.id;
        const event = readEvent(message.id, parseJson(message.data));
        if (event !== undefined) onEvent(event);
      }
    }
  };
  const start = (): void => {
    open?.abort();
    if (document.visibilityState === 'hidden') return;
    const { signal } = (open = new AbortController());
    const again = (): void => {
      if (!signal.aborted) window.setTimeout(() => signal.aborted || start(), RETRY_MS);
    };
    follow(signal).then(again, again);
  };
  document.addEventListener('visibilitychange', start);
  start();
}
