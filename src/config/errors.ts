import { joinSome } from '../util/clip.ts';

/**
 * What is wrong with a configuration.
 *
 * - `malformed`: not even the shape is right (a wrong type, a missing member, words that follow no grammar)
 * - `invalid`: against a rule, or not supported yet
 * - `duplicate`: an id is there twice
 */
export type ConfigErrorKind = 'malformed' | 'invalid' | 'duplicate';

/** A configuration that cannot be used; each problem names the member and the reason. */
export class ConfigError extends Error {
  readonly kind: ConfigErrorKind;
  readonly problems: readonly string[];

  /** what is expected, or meant; for people, beside the message */
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
