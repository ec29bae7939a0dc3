// Hostile requests to a directory of the host: nothing outside of it is read, found or changed. tests/slow/ sends a million.
import { test } from 'node:test';
import { attackDirectory } from './test-hostile-guest.ts';

test('hostile requests reach nothing outside of the shared directory', () => {
  attackDirectory({ requests: 4000, perRun: 200 });
});
