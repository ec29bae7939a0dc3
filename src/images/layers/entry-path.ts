import { TarError } from './tar-header.ts';

/** Most bytes of a file name, and of a path, in Linux. */
const NAME_MAX = 255;
const PATH_MAX = 4095;

/**
 * Splits the name of an entry into the names below the root: `/a`, `./a` and `b/../a` are `a`. The root itself has none.
 * @throws TarError for a path that leaves the root, and one that Linux cannot have
 */
export function splitPath(path: string): string[] {
  if (path.length > PATH_MAX) throw new TarError(`${quote(path)}: the path has more than ${PATH_MAX} bytes`);
  const names: string[] = [];
  for (const name of path.split('/')) {
    if (name === '' || name === '.') continue;
    if (name !== '..') names.push(checkName(name, path));
    else if (names.pop() === undefined) throw new TarError(`${quote(path)}: the path leaves the root`);
  }
  return names;
}

function checkName(name: string, path: string): string {
  if (name.length > NAME_MAX) throw new TarError(`${quote(path)}: a name has more than ${NAME_MAX} bytes`);
  return name;
}

/** Most characters of a path in a message. */
const QUOTED_MAX = 200;

/** Renders a path (bytes as Latin-1) for a message. */
export function quote(path: string): string {
  const text = Buffer.from(path, 'latin1').toString('utf8');
  return JSON.stringify(text.length > QUOTED_MAX ? `${text.slice(0, QUOTED_MAX)}...` : text);
}

const WHITEOUT = '.wh.';
const METADATA = '.wh..wh.';
const OPAQUE = '.wh..wh..opq';

/** Purpose of a name (OCI image specification, layer, whiteouts). */
export type NamePurpose =
  | { readonly kind: 'ordinary' }
  /** hides all that lower layers have in the directory of the entry */
  | { readonly kind: 'opaque' }
  /** hides a file or a directory of lower layers */
  | { readonly kind: 'whiteout'; readonly hides: string };

/** Returns the purpose of the last name of a path. @throws TarError for a whiteout without a name */
export function purposeOf(names: readonly string[]): NamePurpose {
  const base = names.at(-1) ?? '';
  if (base === OPAQUE) return { kind: 'opaque' };
  if (!base.startsWith(WHITEOUT) || isMetadata(names)) return { kind: 'ordinary' };
  const hides = base.slice(WHITEOUT.length);
  if (['', '.', '..'].includes(hides)) {
    throw new TarError(`${quote(names.join('/'))}: is a whiteout of no file`);
  }
  return { kind: 'whiteout', hides };
}

/** Returns whether a path is one of AUFS: it is no part of the layer, but hard links may refer to it. */
export function isMetadata([top = '']: readonly string[]): boolean {
  return top.startsWith(METADATA) && top !== OPAQUE;
}
