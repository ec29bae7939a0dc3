import { ApiError } from '../../api/errors.ts';
import { reasonOf } from '../../util/errno.ts';

/** Returns the result of `work`. If it rejects, the ApiError names `what`, e.g. `kernel /x: No such file or directory`. */
export function failingAs<T>(what: string, work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw new ApiError('failed', `${what}: ${reasonOf(error)}`, { cause: error });
  });
}
