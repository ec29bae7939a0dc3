// nephos: exit codes and streams of commands in images of each kind; tests/slow/run-kinds.test.ts has the large sizes.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeHome } from './support/nephos.ts';
import { checkKind, toolsKinds, type CommandEnd } from './support/run-kinds.ts';

const folder = mkdtempSync(join(tmpdir(), 'kinds-'));
after(() => rmSync(folder, { recursive: true }));

const SIZES = { output: 8 * 2 ** 20, input: 2 * 2 ** 20 };

/** Ends of the runs' own commands, one for each kind. */
const ENDS: readonly CommandEnd[] = [
  ['exit 255', 255],
  ['kill -9 $$', 137],
  ['exit 42', 42],
  ['kill -15 $$', 143],
];

for (const [index, kind] of (await toolsKinds(folder)).entries()) {
  test(`commands in ${kind.name}`, async (t) => {
    await using home = makeHome();
    await checkKind(t, home, { ...kind, sizes: SIZES, end: ENDS[index] ?? ['exit 0', 0] });
  });
}
