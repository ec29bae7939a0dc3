/**
 * A decoder as strict as those of Rust: a member has its type and its range, an enumeration its spelling, and a member without
 * a default must be present. Unknown members are passed over.
 */

/**
 * Members of a struct and their types: `u32`, `String[]` for a list, `Name` for another struct, `Name{}` for a map. Behind the
 * type, `?` means that the member may be absent or `null`, `=` that it may be absent as it has a default.
 */
export type Structs = Readonly<Record<string, StructOrEnum>>;
type StructOrEnum = Readonly<Record<string, string>> | readonly string[];

/** Returns the problems of an answer. With `complete` members with a default must be present too, as in a server's answers. */
export function problemsOf(
  structs: Structs,
  [type, value]: readonly [type: string, value: unknown],
  { complete = false } = {},
): string[] {
  const decode = (name: string, one: unknown, at: string): string[] => {
    if (name.endsWith('{}')) return decodeMap(name.slice(0, -2), one, at);
    if (name.endsWith('[]')) return decodeList(name.slice(0, -2), one, at);
    const scalar = SCALARS[name];
    if (scalar !== undefined) return scalar(one) ? [] : [`${at}: ${JSON.stringify(one)} is no ${name}`];
    const known = structs[name];
    if (known === undefined) throw new Error(`no struct is called ${name}`);
    if (isEnum(known)) {
      return known.some((word) => word === one) ? [] : [`${at}: ${JSON.stringify(one)} is no ${name}`];
    }
    return decodeStruct(known, one, at);
  };
  const decodeMap = (name: string, one: unknown, at: string): string[] =>
    isObject(one)
      ? Object.entries(one).flatMap(([key, item]) => decode(name, item, `${at}.${key}`))
      : [`${at}: is no map`];
  const decodeList = (name: string, one: unknown, at: string): string[] =>
    Array.isArray(one)
      ? one.flatMap((item, i) => decode(name, item, `${at}[${i}]`))
      : [`${at}: ${JSON.stringify(one)} is no list`];
  const decodeStruct = (members: Readonly<Record<string, string>>, one: unknown, at: string): string[] => {
    if (!isObject(one)) return [`${at}: is no struct`];
    const unknown = '#strict' in members ? Object.keys(one).filter((key) => !(key in members)) : [];
    return [
      ...unknown.map((key) => `${at}.${key}: is unknown`),
      ...Object.entries(members).flatMap(([key, kind]) => {
        if (key.startsWith('#')) return [];
        const item = one[key];
        const place = `${at}.${key}`;
        const name = kind.replace(/[?=]$/, '');
        if (kind.endsWith('?') && (item === undefined || item === null)) return [];
        if (item === undefined) return kind.endsWith('=') && !complete ? [] : [`${place}: is missing`];
        return decode(name, item, place);
      }),
    ];
  };
  return decode(type, value, type);
}

/** Returns the members of a struct, for one of another release that differs from it. */
export function structOf(structs: Structs, name: string): Readonly<Record<string, string>> {
  const known = structs[name];
  if (known === undefined || isEnum(known)) throw new Error(`no struct is called ${name}`);
  return known;
}

function isEnum(known: StructOrEnum): known is readonly string[] {
  return Array.isArray(known);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const unsigned =
  (bits: number) =>
  (value: unknown): boolean =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** bits;

const matches =
  (pattern: RegExp) =>
  (value: unknown): boolean =>
    typeof value === 'string' && pattern.test(value);

const SCALARS: Readonly<Record<string, (value: unknown) => boolean>> = {
  u8: unsigned(8),
  u16: unsigned(16),
  u32: unsigned(32),
  u64: unsigned(64),
  usize: unsigned(64),
  i32: (value) => typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 2 ** 31,
  i64: (value) => typeof value === 'number' && Number.isInteger(value),
  bool: (value) => typeof value === 'boolean',
  String: (value) => typeof value === 'string',
  PathBuf: (value) => typeof value === 'string',
  Ipv4Addr: matches(/^\d{1,3}(\.\d{1,3}){3}$/),
  MacAddr: matches(/^[\da-f]{2}(:[\da-f]{2}){5}$/i),
  PciBdf: matches(/^[\da-f]{4}:[\da-f]{2}:[\da-f]{2}\.[\da-f]$/i),
};
