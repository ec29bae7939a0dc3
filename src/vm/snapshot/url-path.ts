import { ApiError } from '../../api/errors.ts';
import { FILE_URL } from '../../api/url-patterns.ts';

const SCHEME = 'file://';

/**
 * Returns the path of a directory or file in a URL. The text after `file://` is not percent-decoded.
 * @throws ApiError `bad-request`
 */
export function pathOf(url: string, expected: 'directory' | 'file'): string {
  if (new RegExp(FILE_URL.pattern).test(url)) return url.slice(SCHEME.length);
  throw new ApiError(
    'bad-request',
    `Could not extract path from URL: ${url} (expected file:///<${expected}>)`,
  );
}
