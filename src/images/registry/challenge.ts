/** A challenge of a `WWW-Authenticate` header (RFC 9110, 11.6.1). */
export interface Challenge {
  /** in lower case, e.g. `bearer` */
  readonly scheme: string;
  /** names in lower case */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Longest header that is parsed, in characters. */
const HEADER_MAX = 8192;

const TOKEN = /[!#$%&'*+.^_`|~\w-]+/y;
const PARAMETER = /\s*([!#$%&'*+.^_`|~\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~\w:/?=@-]+))\s*/y;
const SEPARATORS = /[\s,]*/y;

/** Parses the challenges of a header. Broken rests are ignored. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  if (header.length > HEADER_MAX) return challenges;
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(header) ?? undefined;
    if (found !== undefined) at = pattern.lastIndex;
    return found;
  };
  for (;;) {
    match(SEPARATORS);
    const scheme = match(TOKEN)?.[0].toLowerCase();
    if (scheme === undefined) return challenges;
    const parameters = new Map<string, string>();
    for (let found = match(PARAMETER); found !== undefined; found = match(PARAMETER)) {
      const [, name = '', quoted, plain = ''] = found;
      parameters.set(name.toLowerCase(), quoted?.replaceAll(/\\(.)/g, '$1') ?? plain);
      const before = at;
      match(SEPARATORS);
      // a scheme follows, not a parameter
      PARAMETER.lastIndex = at;
      if (PARAMETER.exec(header) === null) {
        at = before;
        break;
      }
    }
    challenges.push({ scheme, parameters });
  }
}
