import { ApiError } from '../../api/errors.ts';
import { FILE_URL } from '../../devices/limits.ts';

const SCHEME = 'file://';

/**
 * The directory that a URL names. What follows `file://` is the path as it is: nothing is percent-decoded.
 * @throws ApiError `bad-request`
 */
export function folderOf(url: string): string {
  if (new RegExp(FILE_URL.pattern).test(url)) return url.slice(SCHEME.length);
  throw new ApiError('bad-request', `Could not extract path from URL: ${url} (expected file:///<directory>)`);
}
