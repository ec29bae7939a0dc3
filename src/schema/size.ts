import { expected } from '../util/nearest.ts';

const UNIT: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/**
 * Reads a size of the command line: a decimal number with an optional K, M or G (powers of 1024).
 * Of several letters the last one applies, as in Cloud Hypervisor (`1KM` is 1 MiB).
 * @returns bytes
 * @throws Error if the text is no size, or the size is not below 2^53
 */
export function parseSize(text: string): number {
  const match = /^\+?(\d+)[KMG]*?([KMG]?)$/.exec(text);
  const unit = UNIT[match?.[2] ?? ''];
  if (match === null || unit === undefined) {
    throw new Error(expected('a size such as 512M (K, M or G, upper case)', suggestSize(text)));
  }
  const bytes = Number(match[1]) * unit;
  if (!Number.isSafeInteger(bytes)) throw new Error('size is too large');
  return bytes;
}

/** Returns `bytes` in the notation of the command line, in the largest unit that is exact: `512M`. */
export function formatSize(bytes: number): string {
  const unit = ['G', 'M', 'K'].find((one) => bytes > 0 && bytes % (UNIT[one] ?? 1) === 0) ?? '';
  return `${bytes / (UNIT[unit] ?? 1)}${unit}`;
}

const LARGE_UNIT: Readonly<Record<string, number>> = { ...UNIT, T: 2 ** 40, P: 2 ** 50 };

/** Converts another notation of a size to that of the command line: `512M` for `512MB`, `1024G` for `1 TiB`, `1536M` for `1.5G`. */
function suggestSize(text: string): string | undefined {
  const [, number, unit = ''] =
    /^\s*(\d{1,15}(?:\.\d{1,6})?)\s*([KMGTP]?)(?:i?B|bytes)?\s*$/i.exec(text) ?? [];
  const factor = LARGE_UNIT[unit.toUpperCase()];
  const bytes = Number(number) * (factor ?? Number.NaN);
  return Number.isSafeInteger(bytes) ? formatSize(bytes) : undefined;
}
