import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

/*
 * An error that is made where another was caught keeps that one as its cause: its stack is otherwise lost. The linter's rule
 * `preserve-caught-error` sees neither our own classes nor `.catch(...)`.
 */

const CLOSING: Readonly<Record<string, string>> = { '(': ')', '{': '}' };

/** Returns the text from an opening bracket to the one that closes it. */
function bracketed(text: string, start: number): string {
  const open = text[start] ?? '';
  const close = CLOSING[open];
  let depth = 0;
  let quote = '';
  for (let i = start; i < text.length; i++) {
    const char = text[i] ?? '';
    if (quote !== '') {
      if (char === '\\') i++;
      else if (char === quote) quote = '';
    } else if (`'"\``.includes(char)) quote = char;
    else if (char === open) depth++;
    else if (char === close && --depth === 0) return text.slice(start, i + 1);
  }
  return text.slice(start);
}

/** Where handlers of errors begin: blocks `catch (x) {`, and the arguments of `.catch(`. */
const HANDLER = /\bcatch \(\w+\) (?=\{)|\.catch(?=\()/g;
const NEW_ERROR = /\bnew \w*Error(?=\()/g;

/** Returns the errors that a source makes in handlers without a cause. */
function errorsWithoutCause(source: string): string[] {
  const text = source.replaceAll(/^ *\/\/.*$/gm, '');
  return [...text.matchAll(HANDLER)].flatMap(({ index, 0: start }) => {
    const handler = bracketed(text, index + start.length);
    return [...handler.matchAll(NEW_ERROR)]
      .map((found) => bracketed(handler, found.index + found[0].length))
      .filter((args) => !/\bcause\b|\bhiddenCause\(/.test(args));
  });
}

test('an error without a cause is found in a catch block and in a catch handler', () => {
  const block = (args: string): string => `try { a(); } catch (error) { throw new ApiError(${args}); }`;
  const handler = (args: string): string =>
    `await a().catch((error: unknown) => { throw new Error(${args}); });`;
  for (const source of [block, handler]) {
    assert.equal(errorsWithoutCause(source("'failed', `x (${reasonOf(error)}`")).length, 1);
    assert.equal(errorsWithoutCause(source("'it failed', { cause: error }")).length, 0);
  }
  assert.deepEqual(errorsWithoutCause("throw new Error('first'); try { a(); } catch { b(); }"), []);
});

test('every error that is made where another was caught keeps it as its cause', () => {
  const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !name.endsWith('.test.ts'),
  );
  assert.ok(files.length > 300, 'the sources are here');
  const lost = files.flatMap((name) =>
    errorsWithoutCause(readFileSync(join('src', name), 'utf8')).map((args) => `${name}: ${args}`),
  );
  assert.deepEqual(lost, []);
});
