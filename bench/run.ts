// `npm run bench -- <name>`: measurements, each beside its reference in the same run.
import { benchApi } from './api.ts';
import { benchBoot } from './boot.ts';
import { benchHotplug } from './hotplug.ts';
import { benchIo } from './io.ts';
import { benchVsock } from './vsock.ts';
import { benchClones } from './clones.ts';
import { benchSnapshot } from './snapshot.ts';

const BENCHES: Readonly<Record<string, (words: readonly string[]) => Promise<void>>> = {
  api: benchApi,
  boot: benchBoot,
  hotplug: benchHotplug,
  io: benchIo,
  vsock: benchVsock,
  snapshot: benchSnapshot,
  clones: benchClones,
};

const [name = '', ...words] = process.argv.slice(2);
const bench = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
if (bench === undefined) {
  console.error(`usage: npm run bench -- <${Object.keys(BENCHES).join('|')}> [rounds]`);
  process.exitCode = 1;
} else {
  await bench(words);
}
