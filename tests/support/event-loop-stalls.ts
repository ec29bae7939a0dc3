import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';

/** Longest stall of the VMM's event loop, in seconds. */
const LIMIT = '0.05';

const NAME = 'nephos_event_loop_stall_seconds';

/** Samples of the VMM's event loop, and those with too long a stall; see docs/metrics.md. */
interface Stalls {
  readonly looks: number;
  readonly tooLong: number;
  readonly page: string;
}

/** Reads the figures of a VMM that was started with `--metrics <socketPath>`. */
async function stallsOf(socketPath: string): Promise<Stalls> {
  const outgoing = request({ socketPath, path: '/metrics', agent: false }).end();
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  let page = '';
  for await (const part of incoming.setEncoding('utf8')) page += String(part);
  const figure = (name: string): number => {
    const line = page.split('\n').find((one) => one.startsWith(`${name} `));
    assert.ok(line !== undefined, `no ${name} in ${page}`);
    return Number(line.split(' ')[1]);
  };
  const looks = figure(`${NAME}_count`);
  return { looks, tooLong: looks - figure(`${NAME}_bucket{le="${LIMIT}"}`), page };
}

/**
 * A request that blocks the event loop does so each time. On a busy host the threads of the garbage collector, for which the event loop
 * waits, may have no processor.
 */
const ATTEMPTS = 5;

/** Requests whose stalls are measured. */
interface Measured {
  readonly act: () => Promise<void>;
  /** Brings the VMM back into the state before `act`, for another attempt; not measured. */
  readonly again?: () => Promise<void>;
}

/** Fails where each run of `act` blocks the VMM's event loop for more than 50 ms at once. */
export async function withoutStalls(metrics: string, { act, again }: Measured): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const before = await stallsOf(metrics);
    await act();
    const after = await stallsOf(metrics);
    assert.ok(after.looks > before.looks, 'the event loop was not looked at');
    if (after.tooLong === before.tooLong) return;
    const buckets = after.page.split('\n').filter((line) => line.startsWith(NAME));
    if (attempt === ATTEMPTS) assert.fail(`stalls of more than ${LIMIT} s:\n${buckets.join('\n')}`);
    await again?.();
  }
}
