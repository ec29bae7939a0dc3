import assert from 'node:assert/strict';
import { test } from 'node:test';
import { consolePath, readPosition } from './console-report.ts';

test('a position report is read, any other text is not', () => {
  assert.deepEqual(readPosition('{"type":"position","position":7,"lost":2}'), { position: 7, lost: 2 });
  assert.deepEqual(readPosition('{"type":"position","position":7}'), { position: 7, lost: 0 });
  for (const text of ['', 'x', '{"type":"resize","applied":true}', '{"type":"position"}', '[]'])
    assert.equal(readPosition(text), undefined, text);
});

test('the path names the console, the bytes that the viewer has, and a viewer without input', () => {
  assert.equal(consolePath('serial', undefined, false), '/api/v1/vm.console?device=serial');
  assert.equal(consolePath('console', 5, true), '/api/v1/vm.console?device=console&after=5&write=0');
});
