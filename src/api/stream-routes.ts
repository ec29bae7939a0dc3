import type { DocumentFragment } from '../schema/field.ts';
import type { StreamRoute } from './route.ts';

/** Definition of an endpoint whose answer is a stream, for the document. */
export interface StreamDefinition extends StreamRoute {
  readonly summary: string;
  /** parameters in the query and headers of the request */
  readonly parameters: readonly StreamParameter[];
  /** description of the text that is streamed */
  readonly format: string;
  /** status codes with their texts */
  readonly answers: Readonly<Record<number, string>>;
}

/** An optional parameter. */
export interface StreamParameter {
  readonly name: string;
  readonly in: 'query' | 'header';
  readonly doc: string;
  readonly schema: DocumentFragment;
}

/** Id of an event: its sequence number, and the random name of the VMM's run, without which it is of the current run. */
export const EVENT_ID = /^(\d{1,15})(?:-([\da-f]{8}))?$/;

const eventId: DocumentFragment = { type: 'string', pattern: EVENT_ID.source };

/** Every endpoint whose answer is a stream. None is in the contract's document. */
export const STREAM_ROUTES = {
  'vmm.events': {
    method: 'GET',
    contentType: 'text/event-stream',
    summary: 'Events of the VMM and its VM as they come, as server-sent events.',
    parameters: [
      {
        name: 'after',
        in: 'query',
        doc: 'Id of an event, or 0. The stream begins with the kept events behind it; without it, with the next event.',
        schema: eventId,
      },
      {
        name: 'follow',
        in: 'query',
        doc: '`false`: the stream ends after the kept events, which are all without `after`.',
        schema: { type: 'string', enum: ['true', 'false'], default: 'true' },
      },
      {
        name: 'Last-Event-ID',
        in: 'header',
        doc: 'As `after`. It has precedence, as a client sends it when it connects again.',
        schema: { type: 'string' },
      },
    ],
    format:
      'Server-sent events: `id` for `after`, `event` is the name, `data` a VmmEvent as JSON on one line.',
    answers: { 200: 'Events until the VMM exits' },
  },
} as const satisfies Readonly<Record<string, StreamDefinition>>;
