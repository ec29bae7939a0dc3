import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, DecodeError } from '../../schema/decode.ts';
import { FsConfig } from './config.ts';
import { parseIdRange } from './id-range.ts';

test('a range of ids has the first one of the guest, the first one of the host, and a count', () => {
  assert.deepEqual(parseIdRange('0:100000:65536'), { guest: 0, host: 100_000, count: 65_536 });
  assert.deepEqual(parseIdRange('1000:0:1'), { guest: 1000, host: 0, count: 1 });
  assert.deepEqual(parseIdRange('0:0:4294967295'), { guest: 0, host: 0, count: 4_294_967_295 });
});

test('a text that is no range of ids is refused with the reason', () => {
  const form = 'expected <guest>:<host>:<count>, e.g. 0:100000:65536';
  const refused: readonly [text: string, reason: string][] = [
    ['', form],
    ['root', form],
    ['0:1', `${form}; did you mean 0:1:1?`],
    ['0 100000 65536', `${form}; did you mean 0:100000:65536?`],
    ['map:0:1000:1', `${form}; did you mean 0:1000:1?`],
    ['-1:0:1', form],
    ['0:0:1:2', form],
    ['0:0:1e3', form],
    ['0:0:99999999999', form],
    ['0:0:0', 'expected a count of at least 1'],
    ['1:0:4294967295', 'expected ids up to 4294967294, the largest of Linux'],
    ['0:4294967295:1', 'expected ids up to 4294967294, the largest of Linux'],
  ];
  for (const [text, message] of refused) assert.throws(() => parseIdRange(text), { message }, text);
});

test('JSON with a wrong range is refused with its place and reason', () => {
  const decoding = (uid_map: unknown) => () => decode(FsConfig, { tag: 't', directory: '/d', uid_map });
  assert.throws(decoding('0:0:0'), new DecodeError(['uid_map: expected a count of at least 1, got "0:0:0"']));
  assert.throws(decoding(0), new DecodeError(['uid_map: expected a string, got 0']));
});
