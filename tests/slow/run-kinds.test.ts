// nephos: 1 GiB of output, 100 MiB of binary input, and exit codes of runs, in images of each kind.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { debianDisk } from '../support/debian.ts';
import { makeHome } from '../support/nephos.ts';
import { checkKind, checkMainEnds, toolsKinds } from '../support/run-kinds.ts';

const folder = mkdtempSync(join(tmpdir(), 'kinds-'));
after(() => rmSync(folder, { recursive: true }));

const SIZES = { output: 2 ** 30, input: 100 * 2 ** 20 };

const disk = { name: 'a disk image', notExecutable: '/etc/passwd', isOpenSsh: true };

for (const kind of [...(await toolsKinds(folder)), { ...disk, words: [debianDisk()] }]) {
  test(`large streams in ${kind.name}`, async (t) => {
    await using home = makeHome();
    await checkKind(t, home, { ...kind, sizes: SIZES, end: ['exit 1', 1] });
  });

  test(`exit codes of runs of ${kind.name}`, async () => {
    await using home = makeHome();
    await checkMainEnds(home, kind.words);
  });
}
