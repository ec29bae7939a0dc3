/** OCI images for tests: a layout with busybox, made without other tools than tar. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Process of the image, in the members of the OCI image configuration. */
export interface OciConfig {
  readonly Env?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
}

const BUSYBOX = '/bin/busybox';

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home/guest:/bin/sh\n';
const GROUP = 'root:x:0:\nguest:x:1000:\nextra:x:2000:guest\n';

/**
 * Makes an OCI layout with one layer: busybox with its commands, and further files by their absolute paths; a script (`#!`) can be run.
 * @returns its name for nephos run, `oci:<folder>`
 */
export function makeOciImage(
  folder: string,
  config: OciConfig = {},
  files: Readonly<Record<string, string>> = {},
): string {
  const root = `${folder}.root`;
  makeRoot(root, { '/etc/passwd': PASSWD, '/etc/group': GROUP, ...files });
  const layer = execFileSync(
    'tar',
    ['-C', root, '--owner=0', '--group=0', '--numeric-owner', '--sort=name', '-cf', '-', '.'],
    { maxBuffer: 2 ** 28 },
  );
  rmSync(root, { recursive: true });
  writeLayout(folder, layer, config);
  return `oci:${folder}`;
}

function makeRoot(root: string, files: Readonly<Record<string, string>>): void {
  for (const name of ['bin', 'dev', 'etc', 'home/guest', 'proc', 'root', 'sys', 'tmp', 'usr/bin', 'var'])
    mkdirSync(join(root, name), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  copyFileSync(BUSYBOX, join(root, 'bin/busybox'));
  const applets = execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets) if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text, { mode: text.startsWith('#!') ? 0o755 : 0o644 });
  }
}

function writeLayout(folder: string, layer: Buffer, config: OciConfig): void {
  const blobs = join(folder, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const add = (mediaType: string, bytes: Buffer): Readonly<Record<string, unknown>> => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
  const layerOf = add('application/vnd.oci.image.layer.v1.tar', layer);
  const configOf = add(
    'application/vnd.oci.image.config.v1+json',
    json({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: [layerOf['digest']] },
    }),
  );
  const manifest = { mediaType: 'application/vnd.oci.image.manifest.v1+json' };
  const manifestOf = add(
    manifest.mediaType,
    json({ schemaVersion: 2, ...manifest, config: configOf, layers: [layerOf] }),
  );
  const tag = { 'org.opencontainers.image.ref.name': 'latest' };
  writeFileSync(
    join(folder, 'index.json'),
    json({ schemaVersion: 2, manifests: [{ ...manifestOf, annotations: tag }] }),
  );
  writeFileSync(join(folder, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
}
