import { ApiError } from '../../api/errors.ts';

const SCHEME = 'file://';

/**
 * The directory that a URL names. What follows `file://` is the path as it is: nothing is percent-decoded.
 * @throws ApiError `bad-request`
 */
export function folderOf(url: string): string {
  const path = url.startsWith(SCHEME) ? url.slice(SCHEME.length) : '';
  if (path.startsWith('/')) return path;
  throw new ApiError('bad-request', `Could not extract path from URL: ${url} (expected file:///<directory>)`);
}
