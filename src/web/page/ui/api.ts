import { asTexts, parseJson, type Json } from '../model/json.ts';
import { isActive, readOperation, type Operation } from '../model/operation.ts';

/** An error answer of the API. */
export class RequestError extends Error {
  readonly status: number;

  constructor(status: number, messages: readonly string[]) {
    super(messages.length > 0 ? messages.join(': ') : `The VMM answered with status ${status}`);
    this.name = 'RequestError';
    this.status = status;
  }
}

/** Time limit of a request that changes nothing, in ms. */
const READ_DEADLINE_MS = 10_000;

/** Asks for a value. Rejects with {@link RequestError} for an error answer, with another error without one. */
export async function get(name: string): Promise<Json> {
  const answer = await fetch(`/api/v1/${name}`, { signal: AbortSignal.timeout(READ_DEADLINE_MS) });
  return readAnswer(answer);
}

/** Interval at which the end of an operation is looked for, in ms. */
const OPERATION_POLL_MS = 300;

/**
 * Sends a change and waits until it is done. Requests that take long become operations, which the page shows. Rejects as
 * {@link get} does.
 */
export async function put(name: string, body?: Json): Promise<void> {
  const answer = await fetch(`/api/v1/${name}`, {
    method: 'PUT',
    headers: {
      Prefer: 'respond-async',
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const json = await readAnswer(answer);
  if (answer.status === ACCEPTED) await endOf(readOperation(json));
}

/** Asks for the end of an operation. */
export async function cancel(id: string): Promise<void> {
  await readAnswer(await fetch(operationPath(id), { method: 'DELETE' }));
}

const ACCEPTED = 202;

function operationPath(id: string): string {
  return `/api/v1/vmm.operations/${encodeURIComponent(id)}`;
}

/** Waits for the end of an operation. Rejects where it has failed or was cancelled. */
async function endOf({ id, kind }: Operation): Promise<void> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, OPERATION_POLL_MS));
    const operation = readOperation(await readAnswer(await fetch(operationPath(id))));
    if (isActive(operation)) continue;
    if (operation.state === 'succeeded') return;
    throw new RequestError(0, operation.error.length > 0 ? operation.error : [`${kind}: ${operation.state}`]);
  }
}

async function readAnswer(answer: Response): Promise<Json> {
  const text = await answer.text();
  const json: Json = text === '' ? null : parseJson(text);
  if (!answer.ok) throw new RequestError(answer.status, asTexts(json));
  return json;
}
