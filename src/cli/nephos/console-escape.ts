/** Ctrl-] */
const ESCAPE = 0x1d;

/** Splits input of a terminal at the escape character. */
export function splitAtEscape(bytes: Buffer): { readonly before: Buffer; readonly isEscape: boolean } {
  const at = bytes.indexOf(ESCAPE);
  return at < 0 ? { before: bytes, isEscape: false } : { before: bytes.subarray(0, at), isEscape: true };
}
