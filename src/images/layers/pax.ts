import { TarError } from './tar-header.ts';

/** A record of an extended header (POSIX `pax`). The value is bytes: an extended attribute is no text. */
export interface PaxRecord {
  /** bytes as Latin-1 */
  readonly key: string;
  readonly value: Buffer;
}

/** Most digits of a record's length. */
const LENGTH_DIGITS = 8;

/** Parses an extended header: records of the form `<length> <key>=<value>\n`. @throws TarError */
export function parsePax(header: Buffer): PaxRecord[] {
  const records: PaxRecord[] = [];
  for (let start = 0; start < header.length;) {
    // some programs pad with zeros
    if (header[start] === 0) break;
    const space = header.indexOf(0x20, start);
    const digits = header.toString('latin1', start, Math.min(space, start + LENGTH_DIGITS + 1));
    if (space < 0 || !/^\d{1,8}$/.test(digits)) throw broken();
    const end = start + Number(digits);
    const equals = header.indexOf(0x3d, space);
    if (end > header.length || equals < 0 || equals >= end - 1 || equals === space + 1) throw broken();
    if (header[end - 1] !== 0x0a) throw broken();
    records.push({
      key: header.toString('latin1', space + 1, equals),
      value: header.subarray(equals + 1, end - 1),
    });
    start = end;
  }
  return records;
}

/** Renders records as the content of an extended header. */
export function renderPax(records: readonly PaxRecord[]): Buffer {
  return Buffer.concat(
    records.flatMap(({ key, value }) => {
      const rest = 1 + key.length + 1 + value.length + 1;
      return [Buffer.from(`${lengthWith(rest)} ${key}=`, 'latin1'), value, Buffer.from('\n')];
    }),
  );
}

/** Returns the length of a record, which counts its own digits. */
function lengthWith(rest: number): number {
  let length = rest + 1;
  while (length !== rest + String(length).length) length = rest + String(length).length;
  return length;
}

function broken(): TarError {
  return new TarError('has a broken extended header');
}
