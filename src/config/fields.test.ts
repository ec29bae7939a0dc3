import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isPinnedMember } from '../devices/test-kinds.ts';
import type { Struct } from '../schema/field.ts';
import { VmConfig } from './vm-config.ts';

/** Every field of a struct and of what it nests, e.g. `disks.rate_limiter_config.ops.size`; one that is refused counts alone. */
function fieldsOf(struct: Struct, prefix = ''): string[] {
  return Object.entries(struct.fields).flatMap(([name, { nested, later }]) =>
    nested === undefined || later ? [`${prefix}${name}`] : fieldsOf(nested, `${prefix}${name}.`),
  );
}

/** The rows of the table: `disks: path, readonly; iommu | tests/x.test.ts | ...`. */
function documented(): { readonly field: string; readonly file: string }[] {
  const [, section = ''] = readFileSync('docs/testing.md', 'utf8').split('## Fields and their tests');
  return [...section.matchAll(/^\| (.+?) \| (\S+\.test\.ts) \|/gm)].flatMap(([, names = '', file = '']) =>
    names.split('; ').flatMap((group) => {
      const [members = '', struct] = group.split(': ').toReversed();
      return members.split(', ').map((name) => ({
        field: struct === undefined ? name : `${struct}.${name}`,
        file,
      }));
    }),
  );
}

test('docs/testing.md lists each field with a test of it, and no other field', () => {
  const rows = documented();
  const listed = rows.map(({ field }) => field);
  const fields = fieldsOf(VmConfig).filter(
    (field) => isPinnedMember(field.replace(/\..*/, '')) || listed.includes(field),
  );
  const without = (all: readonly string[], some: readonly string[]): string[] =>
    all.filter((one) => !some.includes(one));
  assert.deepEqual(
    { missing: without(fields, listed), strange: without(listed, fields), count: listed.length },
    { missing: [], strange: [], count: fields.length },
  );
  const texts = new Map(rows.map(({ file }) => [file, readFileSync(file, 'utf8')]));
  const unknown = rows.filter(({ field, file }) => {
    const name = field.slice(field.lastIndexOf('.') + 1);
    return texts.get(file)?.includes(name) !== true;
  });
  assert.deepEqual(unknown, []);
});
