// Archives for tests, byte by byte, also such that no program writes.
import { deflateRawSync } from 'node:zlib';

/** An entry of a tar file; members that are left out are valid. */
export interface TarEntry {
  readonly name: string | Uint8Array;
  readonly flag?: string;
  readonly content?: string | Uint8Array;
  readonly target?: string;
  readonly mode?: number;
  /** bytes of the field of 12 */
  readonly size?: string;
  readonly time?: number;
  readonly prefix?: string;
  readonly device?: readonly [major: number, minor: number];
  readonly checksum?: number;
}

/** Returns a tar file, with two empty blocks behind the entries. */
export function tarOf(...entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(1024)]);
}

function tarEntry(entry: TarEntry): Buffer {
  const { name, flag = '0', content = '', target = '', mode = 0o644, prefix = '', device = [0, 0] } = entry;
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(512);
  Buffer.from(name).copy(header, 0);
  header.write(`${mode.toString(8).padStart(7, '0')}\0`, 100);
  header.write('0001750\0', 108);
  header.write('0001751\0', 116);
  header.write(entry.size ?? `${bytes.length.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
  header.write(`${(entry.time ?? 1_700_000_000).toString(8).padStart(11, '0')}\0`, 136);
  header.write(flag, 156);
  header.write(target, 157);
  header.write('ustar\u{0}00', 257);
  header.write(`${device[0].toString(8).padStart(7, '0')}\0${device[1].toString(8).padStart(7, '0')}\0`, 329);
  header.write(prefix, 345);
  header.write('        ', 148);
  const sum = entry.checksum ?? header.reduce((all, byte) => all + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

/** Returns an extended header (`pax`). */
export function paxEntry(members: Readonly<Record<string, string>>, flag = 'x'): TarEntry {
  const records = Object.entries(members).map(([name, value]) => {
    const rest = ` ${name}=${value}\n`;
    const bytes = Buffer.byteLength(rest);
    const length = [1, 2, 3, 4, 5]
      .map((digits) => bytes + digits)
      .find((all, i) => String(all).length === i + 1);
    return `${length}${rest}`;
  });
  return { name: 'PaxHeader', flag, content: records.join('') };
}

/** An entry of a zip file; members that are left out are valid. */
export interface ZipEntry {
  readonly name: string | Uint8Array;
  readonly content?: string | Uint8Array;
  /** 0: stored, 8: deflated */
  readonly method?: number;
  /** `st_mode` */
  readonly mode?: number;
  readonly flags?: number;
  /** size that the header states */
  readonly size?: number;
  /** content as it is in the file */
  readonly packed?: Uint8Array;
}

/** Returns a zip file. */
export function zipOf(entries: readonly ZipEntry[], comment = ''): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content = '', method = 8, mode = 0o100_644, flags = 0, ...entry } of entries) {
    const bytes = Buffer.from(content);
    const packed = Buffer.from(entry.packed ?? (method === 8 ? deflateRawSync(bytes) : bytes));
    const size = entry.size ?? bytes.length;
    const path = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x0403_4b50);
    local.writeUInt16LE(path.length, 26);
    local.writeUInt16LE(4, 28);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x0201_4b50);
    central.writeUInt8(3, 5);
    central.writeUInt16LE(flags, 8);
    central.writeUInt16LE(method, 10);
    // 2024-02-03 04:05:06
    central.writeUInt16LE((4 << 11) | (5 << 5) | 3, 12);
    central.writeUInt16LE((44 << 9) | (2 << 5) | 3, 14);
    central.writeUInt32LE(packed.length, 20);
    central.writeUInt32LE(size, 24);
    central.writeUInt16LE(path.length, 28);
    central.writeUInt32LE((mode << 16) >>> 0, 38);
    central.writeUInt32LE(offset, 42);
    directory.push(central, path);
    // an extra field, of another length than in the directory
    locals.push(local, path, Buffer.alloc(4), packed);
    offset += 30 + path.length + 4 + packed.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x0605_4b50);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(offset, 16);
  end.writeUInt16LE(Buffer.byteLength(comment), 20);
  return Buffer.concat([...locals, ...directory, end, Buffer.from(comment)]);
}
