import { access, constants, stat } from 'node:fs/promises';
import { ivshmem } from '../../../devices/ivshmem/index.ts';
import { reasonOf } from '../../../util/errno.ts';
import { prepares } from '../prepare.ts';

/** Checks the file: QEMU would create a missing file, and map a file that is too short. */
export const prepareIvshmem = prepares(ivshmem, async ({ path, size }) => {
  try {
    const status = await stat(path);
    if (!status.isFile()) throw new Error('is not a regular file');
    if (status.size < size) throw new Error(`has ${status.size} bytes, ${size} are needed`);
    await access(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
  return { facts: undefined };
});
