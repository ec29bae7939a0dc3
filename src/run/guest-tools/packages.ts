import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { GuestToolsError } from './errors.ts';
import { runProgram } from './host-program.ts';

/*
 * Debian packages by the apt sources of this machine, as an ordinary user. Where apt has no lists, or its lists name packages that are
 * gone, own lists are fetched into a folder of the build.
 */

/** A source of packages. */
export interface Packages {
  /** versions that apt knows, newest first */
  readonly versionsOf: (name: string) => Promise<readonly string[]>;
  /** names of the packages that one depends on, without versions; the first of alternatives */
  readonly dependenciesOf: (name: string, version?: string) => Promise<readonly string[]>;
  /** downloads packages (`name` or `name=version`), and returns the paths of their files */
  readonly download: (names: readonly string[]) => Promise<readonly string[]>;
}

/** Options that both apt programs take for own lists. */
function ownLists(folder: string): string[] {
  return ['-o', `Dir::State::lists=${join(folder, 'lists')}`, '-o', `Dir::Cache=${join(folder, 'cache')}`];
}

/** Opens the apt sources for a build in a folder. Own lists are fetched if apt knows none of `required`. @throws GuestToolsError */
export async function openPackages(
  folder: string,
  required: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Packages> {
  const installed = aptWith([], folder, signal);
  if (await knowsAll(installed, required)) return installed;
  const options = ownLists(folder);
  await mkdir(join(folder, 'lists', 'partial'), { recursive: true });
  await mkdir(join(folder, 'cache', 'archives', 'partial'), { recursive: true });
  await runProgram('apt-get', [...options, '-q', 'update'], { signal });
  const own = aptWith(options, folder, signal);
  if (await knowsAll(own, required)) return own;
  throw new GuestToolsError(
    `the apt sources of this machine do not have all of ${required.join(', ')}: add the main component of Debian`,
  );
}

async function knowsAll(packages: Packages, names: readonly string[]): Promise<boolean> {
  const versions = await Promise.all(names.map((name) => packages.versionsOf(name)));
  return versions.every((one) => one.length > 0);
}

function aptWith(options: readonly string[], folder: string, signal: AbortSignal | undefined): Packages {
  const cache = async (...words: string[]): Promise<string> =>
    (await runProgram('apt-cache', [...options, ...words], { signal })).toString();
  return {
    versionsOf: async (name) => parseMadison(await cache('madison', name)),
    dependenciesOf: async (name, version) =>
      parseDepends(await cache('show', version === undefined ? name : `${name}=${version}`)),
    download: async (names) => {
      const before = new Set(await packageFiles(folder));
      const words = [...options, '-q', '-o', 'APT::Sandbox::User=root', 'download', ...names];
      await runProgram('apt-get', words, { cwd: folder, signal });
      return (await packageFiles(folder))
        .filter((name) => !before.has(name))
        .map((name) => join(folder, name));
    },
  };
}

async function packageFiles(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith('.deb'));
}

/** Parses the output of `apt-cache madison`: lines `package | version | source`. Newest first. */
export function parseMadison(output: string): string[] {
  const versions = output.split('\n').flatMap((line) => line.split('|')[1]?.trim() ?? []);
  return [...new Set(versions)].toSorted((a, b) => compareVersions(b, a));
}

/** Parses the field Depends of the first package in the output of `apt-cache show`. */
export function parseDepends(output: string): string[] {
  const line = /^Depends: (.*)$/m.exec(output)?.[1] ?? '';
  return line.split(',').flatMap((one) => /^\s*([a-z0-9][a-z0-9+.-]*)/.exec(one)?.[1] ?? []);
}

const collator = new Intl.Collator('en', { numeric: true });

/** Compares two versions of one package, by their numbers; enough for a kernel's versions, not the whole order of Debian. */
function compareVersions(a: string, b: string): number {
  return collator.compare(a, b);
}
