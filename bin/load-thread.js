'use strict';
// Loads the bundle of a thread, whose path is its first argument or its first message (src/util/spare-thread.ts), with the compiled code beside it (scripts/thread-code-cache.ts): saves
// 5 ms of a processor. For another version of Node, or with other flags of V8, the bundle is compiled as usual.
const { readFileSync } = require('node:fs');
const { createRequire, wrap } = require('node:module');
const { dirname } = require('node:path');
const { Script } = require('node:vm');
const { parentPort } = require('node:worker_threads');

const [, , path] = process.argv;
// the bundle waits for its next message before another one is delivered
if (path === undefined) parentPort.once('message', evaluate);
else evaluate(path);

function evaluate(filename) {
  const cachedData = readCache(filename.replace(/\.cjs$/, `-${process.version}.cache`));
  const script = new Script(wrap(readFileSync(filename, 'utf8')), { filename, cachedData });
  const module = { exports: {} };
  const run = script.runInThisContext();
  run(module.exports, createRequire(filename), module, filename, dirname(filename));
}

function readCache(file) {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}
