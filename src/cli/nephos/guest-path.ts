import { lastName } from '../../util/last-name.ts';
import { UsageError } from '../flags.ts';

/** A path of `nephos cp`: of a VM, of the host, or a standard stream. */
export type CopyPath =
  | { readonly kind: 'guest'; readonly vm: string; readonly path: string }
  | { readonly kind: 'host'; readonly path: string }
  | { readonly kind: 'stream' };

/** Reads `NAME:PATH`, a path of the host or `-`. A path of the host with a colon starts with `/` or `.`, as for docker. */
export function readCopyPath(text: string): CopyPath {
  if (text === '-') return { kind: 'stream' };
  if (/^[/.]/.test(text) || !text.includes(':')) return { kind: 'host', path: text };
  const colon = text.indexOf(':');
  const [vm, path] = [text.slice(0, colon), text.slice(colon + 1)];
  if (path === '') throw new UsageError(`nephos cp: ${text} has no path`, 'expected NAME:PATH');
  return { kind: 'guest', vm, path };
}

/** Returns the path of a copy: below an existing directory it has the name of the source. */
export function copyTarget(source: string, destination: string, isDirectory: boolean): string {
  const name = lastName(source);
  if (!isDirectory || name === '') return destination;
  return `${destination.replace(/\/+$/, '')}/${name}`;
}
