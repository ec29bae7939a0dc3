import { homedir } from 'node:os';
import { join } from 'node:path';
import * as v from 'valibot';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { readText } from '../../util/open-file.ts';
import { DEFAULT_REGISTRY } from '../reference.ts';
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
 * Finds the credentials of a registry as docker does: `credHelpers` and `credsStore`, then `auths` of `config.json` in DOCKER_CONFIG or
 * ~/.docker. Never rejects for a broken configuration: many images need no credentials.
 */
export async function findCredentials(domain: string, signal?: AbortSignal): Promise<FoundCredentials> {
  const path = join(process.env['DOCKER_CONFIG'] || join(homedir(), '.docker'), 'config.json');
  const config = await readConfig(path);
  if (typeof config === 'string') return { failure: config };
  const key = domain === DEFAULT_REGISTRY.name ? DEFAULT_REGISTRY.credentialsKey : domain;
  const helper = config.credHelpers?.[key] ?? config.credHelpers?.[domain] ?? config.credsStore;
  const helped = helper ? await askCredentialHelper(helper, key, signal) : {};
  if (helped.credentials !== undefined) return helped;
  const entry = entryOf(config, domain, key);
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

/** Keys may be URLs of old versions of docker: `https://registry.example/v1/`. */
function entryOf(
  config: DockerConfig,
  domain: string,
  key: string,
): v.InferOutput<typeof entrySchema> | undefined {
  const { auths = {} } = config;
  if (Object.hasOwn(auths, key)) return auths[key];
  const found = Object.entries(auths).find(([one]) => hostOf(one) === hostOf(key) || hostOf(one) === domain);
  return found?.[1];
}

function hostOf(key: string): string {
  return key.replace(/^https?:\/\//, '').replace(/\/.*$/s, '');
}

function credentialsOf(entry: v.InferOutput<typeof entrySchema>): Credentials | undefined {
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
