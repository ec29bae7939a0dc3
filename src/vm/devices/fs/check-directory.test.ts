import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDirectory } from './check-directory.ts';

test('an error has the path, and the folder to which it is relative', async () => {
  const missing = { message: 'directory /no/such: no such file or directory' };
  await assert.rejects(checkDirectory('/no/such'), missing);
  const folder = `relative to the working directory of the VMM, ${process.cwd()}`;
  const relative = { message: `directory no/such: no such file or directory (${folder})` };
  await assert.rejects(checkDirectory('no/such'), relative);
  const tilde = {
    message: `directory ~/src: no such file or directory (${folder}; ~ is not expanded: write $HOME)`,
  };
  await assert.rejects(checkDirectory('~/src'), tilde);
});
