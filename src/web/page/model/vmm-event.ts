import { asRecord, asText, type Json, type JsonRecord } from './json.ts';

/** An event of the VMM. */
export interface VmmEvent {
  /** sequence number, and name of the VMM's run */
  readonly id: string;
  /** time since the start of the VMM, in seconds */
  readonly seconds: number;
  readonly source: string;
  readonly event: string;
  readonly properties: JsonRecord;
}

/** Reads an event as the event monitor has it; undefined for another text. */
export function readEvent(id: string, json: Json): VmmEvent | undefined {
  const { source = null, event = null, properties = null, timestamp = null } = asRecord(json);
  if (asText(event) === '') return undefined;
  const { secs = 0, nanos = 0 } = asRecord(timestamp);
  return {
    id,
    seconds: Number(secs) + Number(nanos) / 1e9,
    source: asText(source),
    event: asText(event),
    properties: asRecord(properties),
  };
}
