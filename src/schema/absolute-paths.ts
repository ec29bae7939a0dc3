import { isAbsolute } from 'node:path';
import type { Struct, ValueOf } from './field.ts';

/**
 * Returns a decoded value with absolute paths; relative paths are relative to `folder`. Sockets that the VMM makes keep their paths:
 * another VMM makes them in its own working directory.
 */
export function withAbsolutePaths<S extends Struct>(
  schema: S,
  value: ValueOf<S>,
  folder: string,
): ValueOf<S> {
  return absolute(schema, value, folder) as ValueOf<S>;
}

function absolute(schema: Struct, value: unknown, folder: string): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => absolute(schema, item, folder));
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(([name, member]: [string, unknown]) => {
    const field = Object.hasOwn(schema.fields, name) ? schema.fields[name] : undefined;
    if (field?.isPath === true && !field.isMade) return [name, absolutePath(member, folder)];
    return [name, field?.nested === undefined ? member : absolute(field.nested, member, folder)];
  });
  return Object.fromEntries(members) as unknown;
}

/** Returns an absolute path. `..` is not resolved: after a symbolic link it is not the parent folder of the text. */
function absolutePath(path: unknown, folder: string): unknown {
  if (typeof path !== 'string' || path === '' || isAbsolute(path)) return path;
  return `${folder.replace(/\/$/, '')}/${path}`;
}
