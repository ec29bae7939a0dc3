// `node build/scripts/thread-code-cache.js BUNDLE...` compiles bundles of threads in `dist/`, all functions of them, and writes the code to
// `<name>-<version of Node>.cache` beside each. bin/load-thread.js uses it. A thread has V8's default flags, other than the main thread of
// cloud-hypervisor.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import Module from 'node:module';
import { resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

for (const file of process.argv.slice(2)) {
  const filename = resolve(file);
  setFlagsFromString('--no-lazy');
  const script = new Script(Module.wrap(readFileSync(filename, 'utf8')), { filename });
  // V8 refuses code that was compiled with other flags than those of its use
  setFlagsFromString('--lazy');
  const cache = filename.replace(/\.cjs$/, `-${process.version}.cache`);
  writeFileSync(`${cache}.part`, script.createCachedData(), { mode: 0o644 });
  renameSync(`${cache}.part`, cache);
}
