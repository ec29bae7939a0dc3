import { readDecimal, readTexts } from '../schema/kinds.ts';

/** More would be a slip, and must not fill the memory of the VMM. */
const MOST = 65_536;

/** Reads `[0-2,9]`, and `0-2:9` of earlier versions, as `[0, 1, 2, 9]`: numbers and ranges. */
export function readIntegers(text: string): number[] {
  return readItems(text).flatMap((item) => {
    const [first, last, ...rest] = item.split('-').map((one) => readDecimal(one));
    if (first === undefined || rest.length > 0) throw new Error('expected N or A-B');
    if (last === undefined) return [first];
    if (first >= last || last - first >= MOST) throw new Error('expected A-B with A below B');
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** The items of a list in brackets, with commas between them, or of one with colons. */
export function readItems(text: string): string[] {
  return text.startsWith('[') ? readTexts(text) : text.split(':');
}
