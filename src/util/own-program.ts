import { resolve } from 'node:path';

/** Returns true if this process is a single executable: Node with the program inside. */
export function isSingleExecutable(): boolean {
  // not imported: other runtimes than Node, in which the SDK runs too, have no such module
  const sea: typeof import('node:sea') | undefined = process.getBuiltinModule('node:sea');
  return sea?.isSea() ?? false;
}

/** Returns the words that start this program again: a single executable, or Node with its options and the script. */
export function ownCommand(): readonly [string, ...string[]] {
  const script = process.argv[1];
  if (script === undefined || isSingleExecutable()) return [process.execPath];
  return [process.execPath, ...process.execArgv, resolve(script)];
}
