// `npm run bench` runs all benches; `npm run bench -- <name>` runs one. Each has a reference in the same run.
import { benchApi } from './api.ts';
import { benchBoot } from './boot.ts';
import { benchClones } from './clones.ts';
import { benchEvents } from './events.ts';
import { benchFs } from './fs.ts';
import { benchHotplug } from './hotplug.ts';
import { benchIo } from './io.ts';
import { benchRun } from './run-image.ts';
import { benchScale } from './scale.ts';
import { benchSnapshotDiff } from './snapshot-diff.ts';
import { benchSnapshot } from './snapshot.ts';
import { benchSnapshotBackends } from './snapshot-backends.ts';
import { benchSnapshotLive } from './snapshot-live.ts';
import { benchStart } from './start.ts';
import { benchVsock } from './vsock.ts';

type Bench = (words: readonly string[]) => Promise<void>;

/** Benches in the order of the table. */
const BENCHES: Readonly<Record<string, Bench>> = {
  boot: benchBoot,
  api: benchApi,
  events: benchEvents,
  hotplug: benchHotplug,
  snapshot: benchSnapshot,
  'snapshot-backends': benchSnapshotBackends,
  'snapshot-live': benchSnapshotLive,
  'snapshot-diff': benchSnapshotDiff,
  start: benchStart,
  clones: benchClones,
  scale: benchScale,
  io: benchIo,
  vsock: benchVsock,
  fs: benchFs,
  run: benchRun,
};

const [name, ...words] = process.argv.slice(2);
if (name === undefined) await all();
else {
  const bench = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
  if (bench === undefined) {
    console.error(`usage: npm run bench [-- <${Object.keys(BENCHES).join('|')}> [rounds]]`);
    process.exitCode = 1;
  } else {
    await bench(words);
  }
}

/** Runs all benches. A failed one is reported, and the others continue. */
async function all(): Promise<void> {
  for (const [one, bench] of Object.entries(BENCHES)) {
    process.stderr.write(`${one} ...\n`);
    await bench([]).catch((error: unknown) => {
      console.error(`${one}: ${error instanceof Error ? error.message : String(error)}`);
      process.exitCode = 1;
    });
  }
}
