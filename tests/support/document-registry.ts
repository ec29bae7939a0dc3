/** Images of the documents, in registries that only the shell of a document reaches by their names. */
import { appendFileSync, copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { copyImage, makeCertificate, startDockerRegistry } from './docker-registry.ts';
import { makeOciImage } from './oci-image.ts';

/** Images that the documents name; all have the same content. */
const NAMES = [
  ...['library/alpine:3.20', 'library/alpine:latest', 'library/node:22', 'library/gcc:14'],
  ...['library/nginx:latest', 'team/app:1.2'],
];

/** Names of registries, and the addresses at which they listen: with TLS but the last one. */
const REGISTRIES = [
  { name: 'registry-1.docker.io', address: '127.0.0.1', port: 443, hasTls: true },
  { name: 'registry.example', address: '127.0.0.1', port: 5000, hasTls: true },
  { name: 'plain.example', address: '127.0.0.2', port: 5000, hasTls: false },
];

/** Programs that the documents run in the images. */
const PROGRAMS = {
  '/bin/npm': '#!/bin/sh\ntest "$1" = test\n',
  '/bin/make': '#!/bin/sh\ntest "$1 $2" = "-C /src"\n',
  '/bin/nginx': '#!/bin/sh\ntest "$1" = -t && exec echo configuration ok\nexec httpd -f -p 80 -h /www\n',
};

const FILES = {
  ...PROGRAMS,
  '/etc/os-release': 'NAME="Test"\n',
  '/etc/nginx/conf.d/default.conf': '',
  '/var/log/nginx/access.log': 'a request\n',
  '/www/index.html': 'page\n',
  '/etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/www:/bin/sh\n',
  '/etc/group': 'root:x:0:\nwww-data:x:33:\n',
};

/** Registries for a document's shell. */
export interface DocumentRegistry {
  /** Commands that start them, for bash in a network and a mount namespace */
  readonly start: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Fills the storage of the registries, and writes their configurations to a folder. */
export async function makeDocumentRegistry(folder: string): Promise<DocumentRegistry> {
  const layout = makeOciImage(join(folder, 'image'), { Cmd: ['nginx'] }, FILES);
  {
    await using registry = await startDockerRegistry(folder);
    for (const name of NAMES) copyImage(`${layout}:latest`, `docker://${registry.host}/${name}`);
  }
  const names = REGISTRIES.filter(({ hasTls }) => hasTls).map(({ name }) => name);
  const { certificate, key } = makeCertificate(folder, names);
  const hosts = join(folder, 'hosts');
  copyFileSync('/etc/hosts', hosts);
  const commands = REGISTRIES.map(({ name, address, port, hasTls }) => {
    const config = join(folder, `${name}.json`);
    const tls = hasTls ? { tls: { certificate, key } } : {};
    writeFileSync(
      config,
      JSON.stringify({
        version: '0.1',
        log: { level: 'error' },
        storage: { filesystem: { rootdirectory: join(folder, 'storage') } },
        http: { addr: `${address}:${port}`, secret: 'of this test', ...tls },
      }),
    );
    appendFileSync(hosts, `${address} ${name}\n`);
    return [
      `docker-registry serve '${config}' >/dev/null 2>&1 &`,
      `until (exec 3<>/dev/tcp/${address}/${port}) 2>/dev/null; do sleep 0.1; done`,
    ].join('\n');
  });
  return {
    start: [`mount --bind '${hosts}' /etc/hosts`, ...commands].join('\n'),
    env: { SSL_CERT_FILE: certificate },
  };
}
