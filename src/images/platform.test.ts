import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canRun, choosePlatform, parsePlatform, platformKey } from './platform.ts';

function choose(wanted: string, candidates: readonly string[]): string | undefined {
  const entries = candidates.map((text) => ({ text, platform: parsePlatform('x', text) }));
  return choosePlatform(entries, parsePlatform('x', wanted))?.text;
}

test('the entry of the same architecture is chosen, the first of equal ones', () => {
  assert.equal(choose('linux/amd64', ['windows/amd64', 'linux/arm64', 'linux/amd64']), 'linux/amd64');
  assert.equal(choose('linux/amd64', ['linux/arm64', 'windows/amd64']), undefined);
});

test('arm64 without a variant is v8', () => {
  assert.equal(choose('linux/arm64', ['linux/arm64/v9', 'linux/arm64/v8']), 'linux/arm64/v8');
  assert.equal(choose('linux/arm64/v8', ['linux/arm64']), 'linux/arm64');
  assert.equal(choose('linux/arm64', ['linux/arm64/v9']), undefined);
});

test('without a wanted variant, the entry without one or of the lowest is chosen', () => {
  assert.equal(choose('linux/amd64', ['linux/amd64/v3', 'linux/amd64']), 'linux/amd64');
  assert.equal(choose('linux/amd64', ['linux/amd64/v3', 'linux/amd64/v2']), 'linux/amd64/v2');
  assert.equal(choose('linux/amd64/v3', ['linux/amd64', 'linux/amd64/v3']), 'linux/amd64/v3');
});

test('other names of architectures are those of Go, and equal platforms have equal keys', () => {
  assert.equal(platformKey(parsePlatform('x', 'linux/aarch64')), 'linux/arm64/v8');
  assert.equal(
    platformKey(parsePlatform('x', 'linux/x86_64')),
    platformKey(parsePlatform('x', 'linux/amd64')),
  );
});

test('an image of another architecture cannot run, one without a platform can', () => {
  const wanted = parsePlatform('x', 'linux/amd64');
  assert.equal(canRun(wanted, { os: 'linux', architecture: 'arm64' }), false);
  assert.equal(canRun(wanted, { os: 'windows', architecture: 'amd64' }), false);
  assert.equal(canRun(wanted, { os: '', architecture: '' }), true);
});

test('a text that is not a platform is refused', () => {
  for (const text of ['', 'linux', 'linux/amd64/x', '/amd64'])
    assert.throws(() => parsePlatform('x', text), /is not a platform; write e\.g\. linux\/amd64/);
});
