// A million hostile requests to a shared directory over real rings: nothing outside of it is read, found or changed.
import { test } from 'node:test';
import { attackDirectory } from '../../src/backends/fs/test-hostile-guest.ts';

test('a million hostile requests reach nothing outside of the shared directory', () => {
  attackDirectory({ requests: 1_000_000, perRun: 500 });
});
