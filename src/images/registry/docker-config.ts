import { homedir } from 'node:os';
import { join } from 'node:path';
import * as v from 'valibot';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { readText } from '../../util/open-file.ts';
import { DEFAULT_REGISTRY, type Reference } from '../reference.ts';
import { askCredentialHelper } from './credential-helper.ts';
import type { Credentials, FoundCredentials } from './credentials.ts';

const entrySchema = v.object({
  auth: v.optional(v.string()),
  username: v.optional(v.string()),
  password: v.optional(v.string()),
  identitytoken: v.optional(v.string()),
});

const configSchema = v.object({
  auths: v.optional(v.record(v.string(), entrySchema)),
  credsStore: v.optional(v.string()),
  credHelpers: v.optional(v.record(v.string(), v.string())),
});

type DockerConfig = v.InferOutput<typeof configSchema>;

/** Largest configuration in bytes. */
const CONFIG_MAX = 2 ** 20;

/**
 * Finds the credentials of a repository as docker does: `credHelpers` and `credsStore`, then `auths` of `config.json` in DOCKER_CONFIG or
 * ~/.docker; then those of `podman login` and `skopeo login` (containers-auth.json(5)). Never rejects for a broken configuration: many
 * images need no credentials.
 */
export async function findCredentials(reference: Reference, signal?: AbortSignal): Promise<FoundCredentials> {
  const failures: string[] = [];
  for (const path of configPaths()) {
    const config = await readConfig(path);
    const found =
      typeof config === 'string' ? { failure: config } : await credentialsIn(config, reference, signal);
    if (found.credentials !== undefined) return found;
    if (found.failure !== undefined) failures.push(found.failure);
  }
  return failures.length === 0 ? {} : { failure: failures.join('; ') };
}

function configPaths(): string[] {
  const { env } = process;
  const home = homedir();
  const runtime = env['XDG_RUNTIME_DIR'];
  return [
    join(env['DOCKER_CONFIG'] || join(home, '.docker'), 'config.json'),
    ...(env['REGISTRY_AUTH_FILE'] ? [env['REGISTRY_AUTH_FILE']] : []),
    ...(runtime ? [join(runtime, 'containers/auth.json')] : []),
    join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers/auth.json'),
  ];
}

async function credentialsIn(
  config: DockerConfig,
  reference: Reference,
  signal: AbortSignal | undefined,
): Promise<FoundCredentials> {
  const { domain } = reference;
  const key = domain === DEFAULT_REGISTRY.name ? DEFAULT_REGISTRY.credentialsKey : domain;
  const helper = config.credHelpers?.[key] ?? config.credHelpers?.[domain] ?? config.credsStore;
  const helped = helper ? await askCredentialHelper(helper, key, signal) : {};
  if (helped.credentials !== undefined) return helped;
  const entry = entryOf(config.auths ?? {}, reference);
  const credentials = entry === undefined ? undefined : credentialsOf(entry);
  return credentials === undefined ? helped : { credentials };
}

/** @returns the configuration, or the reason why it cannot be used */
async function readConfig(path: string): Promise<DockerConfig | string> {
  let text: string;
  try {
    text = await readText(path, { limit: CONFIG_MAX });
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? {} : `${path} cannot be read: ${reasonOf(error)}`;
  }
  try {
    const result = v.safeParse(configSchema, JSON.parse(text), { abortEarly: true });
    if (result.success) return result.output;
    return `${path} is wrong at ${v.getDotPath(result.issues[0]) ?? 'its top'}`;
  } catch {
    // the message of the parser can have a part of a password
    return `${path} is not JSON`;
  }
}

type Entry = v.InferOutput<typeof entrySchema>;

/**
 * Chooses the entry of the longest key. A key is a host, a host with the begin of a repository (podman), or the URL of an old version of
 * docker, whose path means nothing: `https://registry.example/v1/`.
 */
function entryOf(
  auths: Readonly<Record<string, Entry>>,
  { domain, repository }: Reference,
): Entry | undefined {
  const names: readonly string[] =
    domain === DEFAULT_REGISTRY.name ? [domain, DEFAULT_REGISTRY.alias] : [domain];
  const wanted = names.map((name) => `${name}/${repository}/`);
  const matches = Object.entries(auths)
    .map(([key, entry]) => ({ place: placeOf(key), entry }))
    .filter(({ place }) => wanted.some((name) => name.startsWith(`${place}/`)));
  return matches.toSorted((a, b) => b.place.length - a.place.length)[0]?.entry;
}

function placeOf(key: string): string {
  const url = /^https?:\/\/([^/]*)/.exec(key);
  return url?.[1] ?? key.replace(/\/+$/, '');
}

function credentialsOf(entry: Entry): Credentials | undefined {
  if (entry.identitytoken) return { kind: 'token', token: entry.identitytoken };
  if (entry.auth) {
    const pair = Buffer.from(entry.auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = pair.indexOf(':');
    if (colon <= 0) return undefined;
    return { kind: 'password', username: pair.slice(0, colon), password: pair.slice(colon + 1) };
  }
  if (!entry.username) return undefined;
  return { kind: 'password', username: entry.username, password: entry.password ?? '' };
}
