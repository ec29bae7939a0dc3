import { ATTRIBUTE_OPERATIONS } from './attribute-operations.ts';
import { ENTRY_OPERATIONS } from './entry-operations.ts';
import { FILE_OPERATIONS } from './file-operations.ts';
import type { Operation } from './operation.ts';

/**
 * Operations on the file system, by opcode. All others fail with ENOSYS, which Linux accepts for each of them: FLUSH (every write has
 * reached the file system already), GETLK, SETLK, SETLKW, BMAP, IOCTL, POLL, TMPFILE, STATX, SETUPMAPPING, REMOVEMAPPING.
 */
export const OPERATIONS: ReadonlyMap<number, Operation> = new Map(
  Object.entries({ ...ENTRY_OPERATIONS, ...FILE_OPERATIONS, ...ATTRIBUTE_OPERATIONS }).map(
    ([opcode, operation]) => [Number(opcode), operation],
  ),
);
