/** Credentials of a registry. */
export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** a refresh token of OAuth 2 */
  | { readonly kind: 'token'; readonly token: string };

/** Credentials that were found, and the reason where a search failed. */
export interface FoundCredentials {
  readonly credentials?: Credentials;
  /** e.g. a credential helper that failed; reported if the registry then denies access */
  readonly failure?: string;
}
