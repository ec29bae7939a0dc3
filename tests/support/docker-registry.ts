/** Debian's docker-registry on loopback, and images made by umoci and skopeo. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A running docker-registry. */
export interface DockerRegistry extends AsyncDisposable {
  /** `127.0.0.1:<port>` */
  readonly host: string;
}

/**
 * Starts docker-registry with its storage in a folder. `sections` are members of its configuration, e.g. `auth`.
 * @throws with its output where it does not listen
 */
export async function startDockerRegistry(
  folder: string,
  sections: { readonly auth?: object; readonly tls?: object } = {},
): Promise<DockerRegistry> {
  const { auth, tls } = sections;
  const config = {
    version: '0.1',
    log: { level: 'info' },
    storage: { filesystem: { rootdirectory: join(folder, 'storage') } },
    http: { addr: '127.0.0.1:0', secret: 'of this test', ...(tls === undefined ? {} : { tls }) },
    ...(auth === undefined ? {} : { auth }),
  };
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `config-${process.hrtime.bigint()}.yml`);
  // JSON is YAML
  writeFileSync(path, JSON.stringify(config));
  const child = spawn('docker-registry', ['serve', path], { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let output = '';
  const port = new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => reject(new Error(`docker-registry exited: ${output.slice(-2000)}`)));
    child.stderr.on('data', (bytes: Buffer) => {
      output = (output + bytes.toString()).slice(-20_000);
      const found = /listening on 127\.0\.0\.1:(\d+)/.exec(output)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  return {
    host: `127.0.0.1:${await port}`,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Makes a layout with one image by umoci: a layer for each file, in their order. `files` has texts by their absolute paths. */
export function makeLayout(layout: string, tag: string, files: Readonly<Record<string, string>>): void {
  const umoci = (...args: string[]): void => {
    execFileSync('umoci', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  };
  umoci('init', '--layout', layout);
  umoci('new', '--image', `${layout}:${tag}`);
  for (const [i, [path, text]] of Object.entries(files).entries()) {
    const source = `${layout}-${i}.txt`;
    writeFileSync(source, text);
    umoci('insert', '--rootless', '--image', `${layout}:${tag}`, source, path);
  }
  umoci(
    ...['config', '--image', `${layout}:${tag}`, '--config.cmd', '/bin/app', '--config.env', 'A=b'],
    ...['--config.workingdir', '/srv', '--config.user', '1000:1000'],
  );
}

/** Copies an image by skopeo, e.g. to `docker://127.0.0.1:5000/app:1`. */
export function copyImage(from: string, to: string, ...options: readonly string[]): void {
  const args = ['copy', '--quiet', '--dest-tls-verify=false', '--insecure-policy', ...options, from, to];
  execFileSync('skopeo', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Makes a certificate for 127.0.0.1 and names that is its own authority. @returns the paths of certificate and key */
export function makeCertificate(
  folder: string,
  names: readonly string[] = ['registry.example'],
): { readonly certificate: string; readonly key: string } {
  const [certificate, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1'],
      ...[
        '-addext',
        `subjectAltName=IP:127.0.0.1,${names.map((name) => `DNS:${name}`).join(',')}`,
        '-keyout',
        key,
        '-out',
        certificate,
      ],
    ],
    { stdio: 'ignore' },
  );
  return { certificate, key };
}
