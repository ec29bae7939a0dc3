// nephos run: many runs, and runs that signals end at random moments, leave nothing.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeOciImage } from './support/oci-image.ts';
import { assertNothingLeft, makeCheckedHome } from './support/run-leftovers.ts';
import { runOften, runOftenInPool } from './support/run-series.ts';
import { signalRuns } from './support/run-signals.ts';

const folder = mkdtempSync(join(tmpdir(), 'left "é" '));
after(() => rmSync(folder, { recursive: true }));
const image = makeOciImage(join(folder, 'image'));

test('warm runs in a row, at once and in a pool, and runs that signals end, leave nothing', async (t) => {
  await using home = makeCheckedHome();
  await t.test('8 runs in a row and 8 at once', async () => {
    await runOften(home, image, 8);
    await assertNothingLeft(home);
  });
  await t.test('runs in a pool', async () => {
    await runOftenInPool(home, image, 2);
    await assertNothingLeft(home);
  });
  await t.test('signals at 8 moments of a warm run', () =>
    signalRuns(home, { words: ['--memory', '256M', image], count: 8 }),
  );
});
