// `node build/scripts/code-cache.js BUNDLE [WORDS]` runs a bundle of `dist/` with these words, and writes the code that V8
// has compiled to the file `<name>-<version of Node>.cache` beside it. bin/load.js and src/guest/load-ssh2.ts use it.
import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import v8 from 'node:v8';
import { Script } from 'node:vm';

const [node = '', , file = '', ...words] = process.argv;
const filename = resolve(file);
process.argv = [node, filename, ...words];
// V8 refuses code that was compiled with other flags than those of the start
Object.assign(v8, { setFlagsFromString: () => undefined });
const script = new Script(Module.wrap(readFileSync(filename, 'utf8')), { filename });
process.once('exit', () => {
  // also the functions that ran
  const cache = filename.replace(/\.cjs$/, `-${process.version}.cache`);
  writeFileSync(`${cache}.part`, script.createCachedData());
  // the program may have changed the umask
  chmodSync(`${cache}.part`, 0o644);
  renameSync(`${cache}.part`, cache);
});
const module = { exports: {} };
const run: unknown = script.runInThisContext();
if (typeof run !== 'function') throw new Error(`${filename} is no bundle`);
run(module.exports, createRequire(filename), module, filename, dirname(filename));
