// nephos run: 200 runs in a row, 8 at once, and the same in a pool; signals at 40 moments of warm and cold runs. Nothing is left.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeOciImage } from '../support/oci-image.ts';
import { assertNothingLeft, makeCheckedHome } from '../support/run-leftovers.ts';
import { runOften, runOftenInPool } from '../support/run-series.ts';
import { signalRuns } from '../support/run-signals.ts';

const folder = mkdtempSync(join(tmpdir(), 'often "é" '));
after(() => rmSync(folder, { recursive: true }));
const image = makeOciImage(join(folder, 'image'));

test('200 warm runs in a row and 8 at once leave nothing', async () => {
  await using home = makeCheckedHome();
  await runOften(home, image, 200);
  await assertNothingLeft(home);
});

test('200 runs in a row and 8 at once with a pool leave nothing', async () => {
  await using home = makeCheckedHome();
  await runOftenInPool(home, image, 200);
  await assertNothingLeft(home);
});

for (const [name, words, isFirst] of [
  ['a warm run', [image], false],
  ['a cold run', ['--cold', image], false],
  ['a run that makes the snapshot', [image], true],
] as const)
  test(`signals at 40 moments of ${name} leave nothing`, async () => {
    await using home = makeCheckedHome();
    if (!isFirst) await home.nephos('run', '--rm', image, '--', 'true');
    const prepare = isFirst ? () => home.nephos('prune') : undefined;
    await signalRuns(home, { words, count: 40, ...(prepare !== undefined && { prepare }) });
  });
