const DIGITS = Buffer.from('0123456789abcdef');
const BACKSLASH = 0x5c;
const U = 0x75;

/**
 * Encodes JSON in ASCII alone. The client of Cloud Hypervisor reads 256 bytes at a time and decodes each read separately: a
 * character of several bytes across two reads makes it fail.
 */
export function asciiJson(value: unknown): string {
  const text = JSON.stringify(value);
  const first = text.search(/[\u0080-\uffff]/);
  return first === -1 ? text : text.slice(0, first) + escapeUnits(text.slice(first));
}

/** Escapes each unit of UTF-16 beyond ASCII: in a loop, as the paths of a VM have up to 100,000. */
function escapeUnits(text: string): string {
  const units = Buffer.from(text, 'utf16le');
  const escaped = Buffer.allocUnsafe(3 * units.length);
  let end = 0;
  for (let i = 0; i < units.length; i += 2) {
    const low = units[i] ?? 0;
    const high = units[i + 1] ?? 0;
    if (high === 0 && low < 0x80) {
      escaped[end++] = low;
      continue;
    }
    escaped[end++] = BACKSLASH;
    escaped[end++] = U;
    for (const digit of [high >> 4, high & 15, low >> 4, low & 15]) escaped[end++] = DIGITS[digit] ?? 0;
  }
  return escaped.toString('latin1', 0, end);
}
