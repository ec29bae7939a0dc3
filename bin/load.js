'use strict';
// Loads a program of `dist/`. CommonJS (see package.json beside this file): starts 5 ms sooner than a module.
//
// The build writes the compiled code of a bundle beside it (scripts/code-cache.ts), which saves 25 ms. For another version of Node
// the code is in the user's cache (user-cache.js).
const { existsSync, readFileSync } = require('node:fs');
const { createRequire, wrap } = require('node:module');
const { dirname, join } = require('node:path');
const { Script } = require('node:vm');

/** Runs the program with a name; without a build, says how to get one. */
module.exports = (name) => {
  const bundle = join(__dirname, '../dist', `${name}.cjs`);
  if (!existsSync(bundle)) {
    console.error('not built yet: run npm run setup');
    process.exitCode = 1;
    return;
  }
  restoreEnvironment();
  // Node maps the lines of required files only
  if (process.sourceMapsEnabled) require(bundle);
  else evaluate(bundle);
};

/** Restores the variable that the lines for the shell in the program have renamed. */
function restoreEnvironment() {
  const { NEPHOS_EXTRA_CA_CERTS: certificates } = process.env;
  if (certificates === undefined) return;
  process.env.NODE_EXTRA_CA_CERTS = certificates;
  delete process.env.NEPHOS_EXTRA_CA_CERTS;
}

function evaluate(filename) {
  const script = compile(wrap(readFileSync(filename, 'utf8')), filename);
  const module = { exports: {} };
  const run = script.runInThisContext();
  run(module.exports, createRequire(filename), module, filename, dirname(filename));
}

function compile(source, filename) {
  const cache = filename.replace(/\.cjs$/, `-${process.version}.cache`);
  if (existsSync(cache)) {
    const script = new Script(source, { filename, cachedData: readFileSync(cache) });
    if (!script.cachedDataRejected) return script;
  }
  return require('./user-cache.js').compileWithCache(source, filename);
}
