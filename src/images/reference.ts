import { isDigest } from './digest.ts';
import { ImageError } from './image-error.ts';

/*
 * References to images in registries, as docker parses them (github.com/distribution/reference):
 *
 *   [domain[:port]/]path[:tag][@digest]
 *
 * The first part is a domain if it has a dot, a colon or a capital letter, or is `localhost`. Without a domain, the image is of
 * docker's default registry, and one without a namespace is in `library/` there. Without a tag and a digest, the tag is `latest`.
 */

/** Constants of docker's default registry, which are part of the meaning of a reference without a domain. */
export const DEFAULT_REGISTRY = {
  name: 'docker.io',
  /** another name of it */
  alias: 'index.docker.io',
  /** namespace of images without one */
  namespace: 'library',
  /** host of its API */
  host: 'registry-1.docker.io',
  /** key of its credentials in docker's configuration */
  credentialsKey: 'https://index.docker.io/v1/',
} as const;

/** A parsed reference. It has a tag, a digest, or both; the digest then decides. */
export interface Reference {
  /** `host` or `host:port`, e.g. `registry.example:5000` or `[::1]:5000` */
  readonly domain: string;
  /** path of the repository, e.g. `library/alpine` */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

const DOMAIN_PART = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const DOMAIN = new RegExp(
  String.raw`^(?:${DOMAIN_PART}(?:\.${DOMAIN_PART})*|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?$`,
);
const PATH_PART = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;

/** Longest name of a repository with its domain, in characters. */
const NAME_MAX = 255;

/** Longest text that is compared with patterns, in characters. */
const TEXT_MAX = 1024;

/** Parses a reference of a user. @throws ImageError `bad-name` with the nearest remedy */
export function parseReference(text: string): Reference {
  if (text.length > TEXT_MAX) throw badName(`${text.slice(0, 40)}...`, 'the name is too long');
  if (text === '') throw badName('""', 'the name is empty; write e.g. alpine:3.20');
  checkWholeText(text);
  const [withTag, digest] = splitDigest(text);
  const [name, tag] = splitTag(text, withTag);
  const [domain, repository] = splitDomain(name);
  checkDomain(text, domain);
  checkRepository(text, repository);
  if (domain.length + 1 + repository.length > NAME_MAX)
    throw badName(text, `the name has more than ${NAME_MAX} characters`);
  return {
    domain,
    repository,
    ...(tag === undefined ? (digest === undefined ? { tag: 'latest' } : {}) : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** Returns the shortest text for a reference, e.g. `alpine:3.20`, as docker shows it. */
export function showReference(reference: Reference): string {
  const { tag, digest } = reference;
  const suffix = `${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
  return `${showRepository(reference)}${suffix}`;
}

function showRepository({ domain, repository }: Reference): string {
  if (domain !== DEFAULT_REGISTRY.name) return `${domain}/${repository}`;
  const prefix = `${DEFAULT_REGISTRY.namespace}/`;
  const short = repository.startsWith(prefix) ? repository.slice(prefix.length) : repository;
  return short.includes('/') ? repository : short;
}

/** Faults of a text as a whole, which would lead to confusing messages about its parts. */
function checkWholeText(text: string): void {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(text)?.[0];
  if (scheme !== undefined)
    throw badName(text, `a reference has no ${scheme}; write ${text.slice(scheme.length) || 'alpine:3.20'}`);
  if (/\s/.test(text)) {
    const trimmed = text.replaceAll(/\s/g, '');
    throw badName(text, `a reference has no white space; write ${trimmed || 'alpine:3.20'}`);
  }
  if (/^[0-9a-f]{64}$/.test(text))
    throw badName(text, `64 hexadecimal digits are a digest, not a name; write NAME@sha256:${text}`);
}

function splitDigest(text: string): [name: string, digest: string | undefined] {
  const at = text.indexOf('@');
  if (at < 0) return [text, undefined];
  const digest = text.slice(at + 1);
  if (!isDigest(digest)) {
    const lower = digest.toLowerCase();
    const remedy = isDigest(lower)
      ? `write ${text.slice(0, at)}@${lower}`
      : 'write sha256: and 64 hexadecimal digits behind the @';
    throw badName(text, `${JSON.stringify(digest)} is not a digest; ${remedy}`);
  }
  return [text.slice(0, at), digest];
}

function splitTag(text: string, name: string): [name: string, tag: string | undefined] {
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1);
  // `localhost:5000` without a path is a name with the tag 5000, as for docker; `[::1]:5000` is no name
  if (colon < 0 || (name.startsWith('[') && !name.includes('/'))) return [name, undefined];
  const tag = name.slice(colon + 1);
  if (!TAG.test(tag)) {
    const reason = tag === '' ? 'the tag behind the colon is empty' : `${JSON.stringify(tag)} is not a tag`;
    const remedy =
      tag === ''
        ? `write ${name.slice(0, colon)} or ${name.slice(0, colon)}:latest`
        : 'a tag has letters, digits, and _ . - behind its first character, 128 at most';
    throw badName(text, `${reason}; ${remedy}`);
  }
  return [name.slice(0, colon), tag];
}

function splitDomain(name: string): [domain: string, repository: string] {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const isDomain = slash >= 0 && (/[.:A-Z]/.test(first) || first === 'localhost');
  const domain = isDomain && first !== DEFAULT_REGISTRY.alias ? first : DEFAULT_REGISTRY.name;
  const path = isDomain ? name.slice(slash + 1) : name;
  const isOfficial = domain === DEFAULT_REGISTRY.name && path !== '' && !path.includes('/');
  return [domain, isOfficial ? `${DEFAULT_REGISTRY.namespace}/${path}` : path];
}

function checkDomain(text: string, domain: string): void {
  const port = /:(\d+)$/.exec(domain.replace(/^\[.*\]/, ''))?.[1] ?? '0';
  if (DOMAIN.test(domain) && Number(port) <= 65_535) return;
  const isRepository = PATH_PART.test(domain.toLowerCase());
  const remedy = isRepository
    ? `names of repositories are in lower case: write ${text.toLowerCase()}`
    : 'write HOST or HOST:PORT before the first /, an IPv6 address in brackets';
  throw badName(text, `${JSON.stringify(domain)} is not the host of a registry; ${remedy}`);
}

function checkRepository(text: string, repository: string): void {
  const wrong = repository.split('/').find((part) => !PATH_PART.test(part));
  if (wrong === undefined) return;
  if (wrong === '') {
    const hint = text.endsWith('/') ? `; write ./${text} for a directory` : '';
    throw badName(text, `a part of the name between slashes is empty${hint}`);
  }
  if (PATH_PART.test(wrong.toLowerCase()))
    throw badName(
      text,
      `names of repositories are in lower case; write ${text.replace(wrong, () => wrong.toLowerCase())}`,
    );
  throw badName(
    text,
    `${JSON.stringify(wrong)} is not a part of a name; it has a-z and 0-9, and single . _ __ or - between them`,
  );
}

function badName(text: string, reason: string): ImageError {
  return new ImageError('bad-name', text, reason);
}
