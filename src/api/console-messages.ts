import * as v from 'valibot';
import { ApiError } from './errors.ts';

/*
 * Messages of vm.console. Binary messages are bytes of the console, in both directions. Text messages are JSON: reports of the VMM,
 * and requests of a viewer.
 */

/** Consoles that can be viewed. */
export const VIEWED_CONSOLES = ['serial', 'console'] as const;
export type ViewedConsole = (typeof VIEWED_CONSOLES)[number];

/** Query of vm.console. */
export interface ConsoleQuery {
  readonly device: ViewedConsole;
  /** number of bytes of the output that the viewer has already */
  readonly after: number | undefined;
  /** input of the viewer is passed to the guest */
  readonly write: boolean;
}

/** A report of the VMM. Positions count the bytes of output since the console was opened. */
export type ConsoleReport =
  /** the next binary message begins at `position`; `lost` bytes that the viewer wanted are no longer kept */
  | { readonly type: 'position'; readonly position: number; readonly lost: number }
  /** answer to a request for another size: whether the guest is notified, and the reason if not */
  | { readonly type: 'resize'; readonly applied: boolean; readonly reason?: string | undefined };

const Report = v.variant('type', [
  v.object({ type: v.literal('position'), position: v.number(), lost: v.number() }),
  v.object({ type: v.literal('resize'), applied: v.boolean(), reason: v.optional(v.string()) }),
]);

/** Decodes a report of the VMM; undefined for a report that later versions have. */
export function decodeReport(text: string): ConsoleReport | undefined {
  const parsed = v.safeParse(Report, JSON.parse(text));
  return parsed.success ? parsed.output : undefined;
}

const Size = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));

/** A request of a viewer: its terminal has another size, in characters. */
export interface ConsoleRequest extends v.InferOutput<typeof ConsoleRequest> {}
const ConsoleRequest = v.object({ type: v.literal('resize'), columns: Size, rows: Size });

/** Decodes a request of a viewer; undefined for a text that is none. */
export function decodeConsoleRequest(text: string): ConsoleRequest | undefined {
  try {
    const parsed = v.safeParse(ConsoleRequest, JSON.parse(text));
    return parsed.success ? parsed.output : undefined;
  } catch {
    return undefined;
  }
}

/** Parameters of the query, in the form of the document. */
export const CONSOLE_PARAMETERS = [
  {
    name: 'device',
    doc: 'The console: the serial port or the virtio console',
    required: true,
    schema: { type: 'string', enum: VIEWED_CONSOLES },
  },
  {
    name: 'after',
    doc: 'Number of bytes of the output that the viewer has already; without it all kept output is sent',
    schema: { type: 'integer', format: 'int64', minimum: 0 },
  },
  {
    name: 'write',
    doc: '0: messages of the viewer with bytes are refused',
    schema: { type: 'string', enum: ['0', '1'], default: '1' },
  },
] as const;

/** Decodes the query of vm.console. @throws ApiError `bad-request` naming the parameter */
export function decodeConsoleQuery(query: URLSearchParams): ConsoleQuery {
  const known: readonly string[] = CONSOLE_PARAMETERS.map(({ name }) => name);
  for (const name of query.keys()) {
    if (!known.includes(name)) throw refusal(`${name}: unknown parameter, expected ${known.join(', ')}`);
    if (query.getAll(name).length > 1) throw refusal(`${name}: given more than once`);
  }
  const device = VIEWED_CONSOLES.find((one) => one === query.get('device'));
  if (device === undefined) throw refusal(`device: expected ${VIEWED_CONSOLES.join(' or ')}`);
  const write = query.get('write') ?? '1';
  if (write !== '0' && write !== '1') throw refusal('write: expected 0 or 1');
  return { device, after: readPosition(query.get('after')), write: write === '1' };
}

function readPosition(text: string | null): number | undefined {
  if (text === null) return undefined;
  const position = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(position)) return position;
  throw refusal('after: expected a number of bytes');
}

function refusal(reason: string): ApiError {
  return new ApiError('bad-request', 'The query is not valid', { cause: new Error(reason) });
}
