import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathOf } from './url-path.ts';

test('the path of a file URL is taken as it is', () => {
  assert.equal(pathOf('file:///tmp/a%20b, "c"', 'directory'), '/tmp/a%20b, "c"');
});

test('a URL of another form is refused, with the form that the request expects', () => {
  for (const url of ['/tmp/x', 'file://tmp/x', 'tcp:1.2.3.4:5', '']) {
    assert.throws(() => pathOf(url, 'file'), {
      message: `Could not extract path from URL: ${url} (expected file:///<file>)`,
    });
    assert.throws(() => pathOf(url, 'directory'), { message: /expected file:\/\/\/<directory>\)$/ });
  }
});
