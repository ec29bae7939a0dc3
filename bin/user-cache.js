'use strict';
// Compiled code of the programs in the cache folder of the user (`code/`), for a Node other than the one that built `dist/`: another
// version, or another processor. The first run of a program writes it when it exits.
//
// The code runs with the rights of the user, so no other user may own the folder or its files, or write to them.
// An entry is named after the version of Node and the bundle's inode, size and times: V8 itself compares the length alone. It has a
// checksum, because V8 crashes on damaged code: after a power failure, a file that was renamed can have zeros.
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const { basename, dirname, isAbsolute, join } = require('node:path');
const { Script } = require('node:vm');

/** Size of the largest entry that is read, in bytes, and number of entries that are kept. */
const [BYTES_MAX, ENTRIES_MAX] = [16 * 2 ** 20, 12];

/** Size of the checksum at the start of an entry, in bytes. */
const CHECKSUM_BYTES = 32;

/** Compiles the text of a bundle, with the code in the cache if there is any. */
exports.compileWithCache = (source, filename) => {
  const name = nameOf(filename);
  const cachedData = attempt(() => inFolder((folder) => read(join(folder, name))));
  const script = new Script(source, { filename, cachedData });
  if (cachedData === undefined || script.cachedDataRejected) {
    // V8 refuses code that was compiled with other flags than those of the start
    require('node:v8').setFlagsFromString = () => undefined;
    const save = () => inFolder((folder) => write(folder, name, script.createCachedData()));
    process.once('exit', () => attempt(save));
  }
  return script;
};

/** Returns the result of a function, undefined if it fails: the programs run without a cache as well. */
function attempt(run) {
  try {
    return run();
  } catch {
    return undefined;
  }
}

function nameOf(filename) {
  const { dev, ino, size, mtimeNs, ctimeNs } = fs.statSync(filename, { bigint: true });
  const words = [basename(filename, '.cjs'), process.version, process.arch, dev, ino, size, mtimeNs, ctimeNs];
  return `${words.join('-')}.cache`;
}

/** Opens the folder, which it makes first if it is missing. `use` gets a path by its descriptor: no other folder can take its place. */
function inFolder(use) {
  const { NEPHOS_CACHE: own, XDG_CACHE_HOME: caches, HOME: home } = process.env;
  const folder = join(own || (caches ? join(caches, 'nephos') : home && join(home, '.cache/nephos')), 'code');
  if (!isAbsolute(folder)) throw new Error(`${folder}: is no absolute path`);
  makeFolder(folder);
  const { O_DIRECTORY, O_NOFOLLOW } = fs.constants;
  const fd = fs.openSync(folder, O_DIRECTORY | O_NOFOLLOW);
  try {
    checkOwner(folder, fs.fstatSync(fd));
    return use(`/proc/self/fd/${fd}`);
  } finally {
    fs.closeSync(fd);
  }
}

/** Makes a folder and those above it. Node's own `recursive` never returns where a file system answers ENOENT, as /proc does. */
function makeFolder(folder) {
  if (fs.existsSync(folder)) return;
  if (dirname(folder) !== folder) makeFolder(dirname(folder));
  try {
    fs.mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    // another start makes it at the same time
    if (error.code !== 'EEXIST') throw error;
  }
}

/** @throws where another user can write to a file or folder */
function checkOwner(path, { uid, mode }) {
  if (uid !== process.geteuid() || (mode & 0o022) !== 0)
    throw new Error(`${path}: is not private to the user`);
}

function read(path) {
  const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants;
  const fd = fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const status = fs.fstatSync(fd);
    checkOwner(path, status);
    if (!status.isFile() || status.size > BYTES_MAX) throw new Error(`${path}: is no entry of the cache`);
    return checkedCode(path, fs.readFileSync(fd));
  } finally {
    fs.closeSync(fd);
  }
}

/** Returns the code of an entry. @throws where it is not the one that was written */
function checkedCode(path, entry) {
  const code = entry.subarray(CHECKSUM_BYTES);
  if (!checksumOf(code).equals(entry.subarray(0, CHECKSUM_BYTES))) throw new Error(`${path}: is damaged`);
  return code;
}

function checksumOf(code) {
  return createHash('sha256').update(code).digest();
}

function write(folder, name, code) {
  const part = join(folder, `.${process.pid}.part`);
  try {
    // no link is followed: a file of that name is an error
    fs.writeFileSync(part, Buffer.concat([checksumOf(code), code]), { flag: 'wx', mode: 0o600 });
    fs.renameSync(part, join(folder, name));
  } catch (error) {
    fs.rmSync(part, { force: true });
    throw error;
  }
  removeOldest(folder);
}

/** Removes entries of former versions. */
function removeOldest(folder) {
  const paths = fs.readdirSync(folder).map((entry) => join(folder, entry));
  const byAge = paths
    .map((path) => ({ path, time: fs.lstatSync(path).mtimeMs }))
    .toSorted((a, b) => b.time - a.time);
  for (const { path } of byAge.slice(ENTRIES_MAX)) fs.rmSync(path, { force: true });
}
