import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { consoleOn } from './console.ts';
import { ConsoleError } from './errors.ts';

function line() {
  const typed: string[] = [];
  const stream = new Duplex({
    read: () => undefined,
    write: (bytes: Buffer, _encoding, done) => {
      typed.push(bytes.toString());
      done();
    },
  });
  return { stream, typed, console: consoleOn(stream) };
}

test('waits find output in pieces after the last match, also multi-byte characters', async () => {
  const { stream, typed, console } = line();
  const first = console.waitFor('a.b');
  for (const byte of Buffer.from('axb a.b ü1 ü2 ')) stream.push(Buffer.from([byte]));
  assert.equal((await first).input.startsWith('axb '), true);
  const expression = /ü(\d)/g;
  assert.equal((await console.waitFor(expression))[1], '1');
  assert.equal((await console.waitFor(expression))[1], '2');
  console.write('x\n');
  assert.deepEqual(typed, ['x\n']);
});

for (const [fault, options, act] of [
  ['timeout', { timeoutMs: 1 }, () => undefined],
  ['closed', {}, (stream: Duplex) => stream.destroy()],
  ['aborted', { signal: AbortSignal.abort() }, () => undefined],
] as const) {
  test(`a wait that ends by ${fault}`, async () => {
    const { stream, console } = line();
    stream.push('something else');
    await new Promise((resolve) => setImmediate(resolve));
    const wait = console.waitFor('never', options);
    act(stream);
    await assert.rejects(wait, (error) => {
      assert.ok(error instanceof ConsoleError);
      assert.deepEqual([error.fault, error.shown], [fault, 'something else']);
      return true;
    });
  });
}
