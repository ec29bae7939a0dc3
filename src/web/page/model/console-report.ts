import { asRecord, parseJson } from './json.ts';

/** A report of the VMM about a console: the next bytes begin at `position`, and `lost` bytes before it are no longer kept. */
export interface PositionReport {
  readonly position: number;
  readonly lost: number;
}

/** Reads a text message of vm.console; undefined for a report of another kind. */
export function readPosition(text: string): PositionReport | undefined {
  const { type, position, lost } = asRecord(parseJson(text));
  if (type !== 'position' || typeof position !== 'number') return undefined;
  return { position, lost: typeof lost === 'number' ? lost : 0 };
}

/** Returns the path of the WebSocket of a console. `after`: number of bytes that the viewer has already. */
export function consolePath(device: string, after: number | undefined, isReadOnly: boolean): string {
  const parameters = {
    device,
    ...(after === undefined ? {} : { after: String(after) }),
    ...(isReadOnly ? { write: '0' } : {}),
  };
  return `/api/v1/vm.console?${new URLSearchParams(parameters).toString()}`;
}
