import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { deferred, type Deferred } from '../util/deferred.ts';
import { LaunchError } from './errors.ts';
import { Stock, type StockItem } from './stock.ts';

interface Item extends StockItem {
  readonly id: number;
  /** Ends the item as if it had exited by itself */
  readonly end: () => void;
}

/** A stock whose starts the test completes. */
function makeStock(size: number, refillDelayMs = 1) {
  const starts: (Deferred<undefined> & { readonly signal: AbortSignal })[] = [];
  const disposed: number[] = [];
  const start = async (signal: AbortSignal): Promise<Item> => {
    const id = starts.length;
    const started = { ...deferred<undefined>(), signal };
    starts.push(started);
    signal.addEventListener('abort', () => started.reject(new LaunchError('aborted')));
    await started.promise;
    const ended = deferred<undefined>();
    return {
      id,
      ended: ended.promise,
      end: () => ended.resolve(undefined),
      [Symbol.asyncDispose]: () => Promise.resolve(void disposed.push(id)),
    };
  };
  const stock = new Stock<Item>({ size, start, refillDelayMs, failureDelayMs: 1 });
  /** Waits for the start with a number, and completes it. */
  const complete = async (id: number, error?: Error): Promise<void> => {
    await until(() => starts.length > id);
    if (error === undefined) starts[id]?.resolve(undefined);
    else starts[id]?.reject(error);
    await nextTurn();
  };
  return { stock, starts, disposed, complete };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(1);
}

/** Fills a stock. */
async function filled(size: number, refillDelayMs?: number) {
  const made = makeStock(size, refillDelayMs);
  const filling = made.stock.fill();
  for (let id = 0; id < size; id++) await made.complete(id);
  await filling;
  return made;
}

test('the items are started one after another', async () => {
  const { stock, starts, complete } = makeStock(3);
  const filling = stock.fill();
  for (let id = 0; id < 3; id++) {
    assert.equal(starts.length, id + 1);
    await complete(id);
  }
  await filling;
  assert.equal(stock.ready, 3);
  await delay(5);
  assert.equal(starts.length, 3);
  await stock[Symbol.asyncDispose]();
});

test('an item that was taken is replaced after the delay, and not before the caller is ready', async () => {
  const { stock, starts, complete } = await filled(2, 5);
  const { item, replace } = await stock.take();
  assert.equal(item.id, 0);
  await delay(30);
  assert.equal(starts.length, 2);
  replace();
  replace();
  assert.equal(starts.length, 2);
  await complete(2);
  assert.equal(stock.ready, 2);
  await delay(30);
  assert.equal(starts.length, 3);
  await stock[Symbol.asyncDispose]();
});

test('callers without a ready item wait for a start each, in order', async () => {
  const { stock, starts, complete } = makeStock(0);
  const takes = [stock.take(), stock.take()];
  await nextTurn();
  assert.equal(starts.length, 2);
  await complete(1);
  await complete(0);
  assert.deepEqual(
    (await Promise.all(takes)).map(({ item }) => item.id),
    [1, 0],
  );
  await stock[Symbol.asyncDispose]();
});

test('a caller gets the item whose start runs already', async () => {
  const { stock, starts, complete } = makeStock(1);
  stock.fill().catch(() => undefined);
  const taking = stock.take();
  await complete(0);
  assert.equal((await taking).item.id, 0);
  assert.equal(starts.length, 1);
  await stock[Symbol.asyncDispose]();
});

test('an abort ends the wait of a caller; its item is kept for the next one', async () => {
  const { stock, starts, complete } = await filled(1);
  const first = await stock.take();
  const abort = new AbortController();
  const expected = { name: 'LaunchError', message: 'the start was aborted' };
  const rejected = assert.rejects(stock.take(abort.signal), expected);
  await nextTurn();
  abort.abort(new Error('enough'));
  await rejected;
  await complete(1);
  assert.equal(stock.ready, 1);
  assert.equal((await stock.take()).item.id, 1);
  assert.equal(starts.length, 2);
  first.replace();
  await assert.rejects(stock.take(AbortSignal.abort()), LaunchError);
  await stock[Symbol.asyncDispose]();
});

test('a failed start rejects the caller that waits, and is repeated for the stock', async () => {
  const { stock, starts, complete } = await filled(1);
  (await stock.take()).replace();
  await complete(1, new Error('no memory'));
  assert.match(String(stock.failure), /no memory/);
  const rejected = assert.rejects(stock.take(), /no memory either/);
  await until(() => starts.length > 2);
  await complete(2, new LaunchError('no memory either'));
  await rejected;
  await complete(3);
  assert.equal(stock.failure, undefined);
  assert.equal(stock.ready, 1);
  await stock[Symbol.asyncDispose]();
});

test('an item that ends after it was taken is the caller’s', async () => {
  const { stock, disposed, complete } = await filled(1);
  const { item, replace } = await stock.take();
  item.end();
  await nextTurn();
  assert.equal(stock.failure, undefined);
  replace();
  await complete(1);
  await stock[Symbol.asyncDispose]();
  assert.deepEqual(disposed, [1]);
});

test('an item that ends while it is ready leaves the stock', async () => {
  const items: Item[] = [];
  const stock = new Stock<Item>({
    size: 1,
    start: () => {
      const ended = deferred<undefined>();
      const end = (): void => ended.resolve(undefined);
      const item = {
        id: items.length,
        ended: ended.promise,
        end,
        [Symbol.asyncDispose]: nextTurn<undefined>,
      };
      items.push(item);
      return Promise.resolve(item);
    },
    refillDelayMs: 1,
    failureDelayMs: 1,
  });
  await stock.fill();
  items[0]?.end();
  await until(() => stock.failure !== undefined);
  assert.match(String(stock.failure), /exited before it was used/);
  await until(() => stock.ready === 1);
  assert.equal((await stock.take()).item.id, 1);
  await stock[Symbol.asyncDispose]();
});

test('a fill rejects with the first failure, and on abort', async () => {
  const { stock, complete } = makeStock(2);
  const failed = assert.rejects(stock.fill(), /not found/);
  await complete(0, new Error('not found'));
  await failed;
  await stock[Symbol.asyncDispose]();

  const other = makeStock(2);
  const abort = new AbortController();
  const rejected = assert.rejects(other.stock.fill(abort.signal), LaunchError);
  abort.abort();
  await rejected;
  await other.stock[Symbol.asyncDispose]();
  assert.ok(other.starts[0]?.signal.aborted);
});

test('the disposal ends items, starts and waits; later calls are refused', async () => {
  const { stock, starts, disposed, complete } = await filled(2);
  await stock.take();
  await stock.take();
  const rejected = assert.rejects(stock.take(), /the pool is closed/);
  await nextTurn();
  const closing = stock[Symbol.asyncDispose]();
  await rejected;
  await closing;
  await stock[Symbol.asyncDispose]();
  assert.ok(starts[2]?.signal.aborted);
  await assert.rejects(stock.take(), /the pool is closed/);
  assert.deepEqual(disposed, []);
  await complete(2);
  assert.equal(stock.ready, 0);
});
