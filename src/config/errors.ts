import { joinSome } from '../util/clip.ts';

/**
 * Kind of fault of a configuration.
 *
 * - `malformed`: does not fit the schema or the grammar (a wrong type, a missing member, an option string with a syntax error)
 * - `invalid`: breaks a rule, or is not supported yet
 * - `duplicate`: has an id twice
 */
export type ConfigErrorKind = 'malformed' | 'invalid' | 'duplicate';

/** A configuration that cannot be used; each problem names the member and the reason. */
export class ConfigError extends Error {
  readonly kind: ConfigErrorKind;
  readonly problems: readonly string[];

  /** expected or intended text, for users; not part of the message */
  readonly hint: string | undefined;

  constructor(
    kind: ConfigErrorKind,
    problems: readonly string[],
    options: ErrorOptions & { readonly hint?: string | undefined } = {},
  ) {
    super(joinSome(problems, '; '), options);
    this.hint = options.hint;
    this.name = 'ConfigError';
    this.kind = kind;
    this.problems = problems;
  }
}
