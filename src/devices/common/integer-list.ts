import { readDecimal } from '../../schema/kinds.ts';
import { readItems } from '../../schema/option-lists.ts';

/** Limit of a list, in numbers: a longer one is a mistake, and must not fill the memory of the VMM. */
const MOST = 65_536;

/** Reads `[0-2,9]`, and `0-2:9` of earlier versions, as `[0, 1, 2, 9]`: numbers and ranges. */
export function readIntegers(text: string): number[] {
  const numbers: number[] = [];
  for (const item of readItems(text)) {
    const [first, last] = readRange(item);
    if (numbers.length + last - first >= MOST) throw new Error(`expected ${MOST} numbers at most`);
    for (let number = first; number <= last; number++) numbers.push(number);
  }
  return numbers;
}

function readRange(item: string): [first: number, last: number] {
  const [first, last, ...rest] = item.split('-').map((one) => readDecimal(one.trim()));
  if (first === undefined || rest.length > 0) throw new Error('expected N or A-B');
  if (last === undefined) return [first, first];
  if (first >= last) throw new Error('expected A-B with A below B');
  return [first, last];
}
