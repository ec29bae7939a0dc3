import { bounded, struct, type ValueOf } from '../../schema/field.ts';
import { path, text } from '../../schema/kinds.ts';
import { NOT_EMPTY } from '../common/limits.ts';

/** Access rights of a Landlock rule. */
export const LANDLOCK_ACCESS = { pattern: '^(r|w|rw|wr)$' } as const;

/** A path that the VMM may open under Landlock. */
export interface LandlockConfig extends ValueOf<typeof LandlockConfig> {}
export const LandlockConfig = struct({
  name: 'LandlockConfig',
  doc: 'A path that may be used under Landlock; checked only',
  fields: {
    path: bounded(path('File or directory'), NOT_EMPTY),
    access: bounded(text('`r`, `w` or `rw`', 'r|w|rw'), LANDLOCK_ACCESS),
  },
});
