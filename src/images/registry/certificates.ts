import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { codeOf } from '../../util/errno.ts';

/** Files in which distributions keep the certificates of the host's authorities. */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
] as const;

/** Directories with a folder for each registry, as docker and podman have them. */
const REGISTRY_DIRECTORIES = ['/etc/docker/certs.d', '/etc/containers/certs.d'] as const;

/**
 * Makes the TLS context for a host (`name` or `name:port`): the authorities of the system, those of SSL_CERT_FILE and
 * NODE_EXTRA_CA_CERTS, and those that docker has for this registry.
 */
export async function createTlsContext(host: string): Promise<SecureContext> {
  const variables = [process.env['SSL_CERT_FILE'], process.env['NODE_EXTRA_CA_CERTS']];
  const own = await Promise.all([
    ...variables.map((path) => readIfThere(path)),
    ...REGISTRY_DIRECTORIES.map((directory) => readCertificates(join(directory, host))),
  ]);
  const system = process.env['SSL_CERT_FILE'] === undefined ? await readBundle() : [];
  const ca = [...system, ...own.flat()].filter((text) => text !== '');
  return createSecureContext({ ca: system.length > 0 || own[0] !== '' ? ca : [...rootCertificates, ...ca] });
}

async function readBundle(): Promise<string[]> {
  for (const path of BUNDLES) {
    const text = await readIfThere(path);
    if (text !== '') return [text];
  }
  return [];
}

async function readCertificates(directory: string): Promise<string[]> {
  try {
    const names = (await readdir(directory)).filter((name) => name.endsWith('.crt'));
    return await Promise.all(names.map((name) => readIfThere(join(directory, name))));
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

async function readIfThere(path: string | undefined): Promise<string> {
  if (path === undefined || path === '') return '';
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return '';
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'EACCES'].includes(codeOf(error) ?? '');
}
