import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeConsoleQuery, decodeConsoleRequest, decodeReport } from './console-messages.ts';
import { errorChain } from './errors.ts';

const query = (text: string) => decodeConsoleQuery(new URLSearchParams(text));

test('a query has a device, and optionally a position and the right to write', () => {
  assert.deepEqual(query('device=serial'), { device: 'serial', after: undefined, write: true });
  assert.deepEqual(query('device=console&after=17&write=0'), { device: 'console', after: 17, write: false });
});

test('a wrong query is refused by the name of the parameter', () => {
  for (const [text, reason] of [
    ['', 'device: expected serial or console'],
    ['device=tty', 'device: expected serial or console'],
    ['device=serial&after=-1', 'after: expected a number of bytes'],
    ['device=serial&after=', 'after: expected a number of bytes'],
    ['device=serial&after=9007199254740993', 'after: expected a number of bytes'],
    ['device=serial&write=2', 'write: expected 0 or 1'],
    ['device=serial&device=console', 'device: given more than once'],
    ['device=serial&follow=1', 'follow: unknown parameter, expected device, after, write'],
  ] as const) {
    assert.throws(
      () => query(text),
      (error) => {
        assert.deepEqual(errorChain(error), ['The query is not valid', reason]);
        return true;
      },
    );
  }
});

test('a request has a size from 1 to 65,535', () => {
  const request = (columns: unknown, rows: unknown) =>
    decodeConsoleRequest(JSON.stringify({ type: 'resize', columns, rows }));
  assert.deepEqual(request(80, 65_535), { type: 'resize', columns: 80, rows: 65_535 });
  for (const wrong of [0, 65_536, 1.5, -1, '80', null]) assert.equal(request(wrong, 24), undefined);
  for (const text of ['', 'root', '[]', 'null', '{"type":"other"}'])
    assert.equal(decodeConsoleRequest(text), undefined);
});

test('reports of later versions are ignored', () => {
  const report = { type: 'position', position: 5, lost: 1 } as const;
  assert.deepEqual(decodeReport(JSON.stringify(report)), report);
  assert.equal(decodeReport('{"type":"later"}'), undefined);
});
