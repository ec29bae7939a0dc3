import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asyncPreference } from './prefer.ts';

test('respond-async is found in any list of preferences', () => {
  for (const header of [
    'respond-async',
    'Respond-ASYNC',
    ' respond-async ',
    'return=minimal, respond-async',
    'return=minimal,respond-async;foo="a,b"',
    'foo="a, wait=1", respond-async',
    'foo="a\\", b", respond-async',
    'respond-async=""',
    ', ,respond-async,',
  ]) {
    assert.deepEqual(asyncPreference(header), { wait: undefined }, header);
  }
});

test('wait is a number of seconds', () => {
  for (const [header, wait] of [
    ['respond-async, wait=30', 30],
    ['WAIT = "30", respond-async', 30],
    ['respond-async, wait=5, wait=6', 5],
    ['respond-async;wait=30', undefined],
    ['respond-async, wait', undefined],
    ['respond-async, wait=-1', undefined],
    ['respond-async, wait=1.5', undefined],
    ['respond-async, wait=99999999999', undefined],
  ] as const) {
    assert.deepEqual(asyncPreference(header), { wait }, header);
  }
});

test('other preferences are no wish for an asynchronous answer', () => {
  for (const header of [
    undefined,
    '',
    'wait=3',
    'respond-asynchronously',
    'x="respond-async"',
    'x="a,respond-async',
    'return=respond-async',
    'x;respond-async',
  ]) {
    assert.equal(asyncPreference(header), undefined, header);
  }
});
