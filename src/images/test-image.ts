import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { tarOf } from './layers/test-archive.ts';
import { writeSquashfs } from './layers/write-squashfs.ts';
import { openLocalImage } from './open-local-image.ts';
import type { ImageContext } from './open-oci-image.ts';
import { openRegistrySource } from './registry/registry-source.ts';
import type { StoreOptions } from './store/store.ts';

/* Images for tests: documents and layers of the OCI image specification, written without the code under test. */

/** A blob of an image. */
export interface TestBlob {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly mediaType: string;
}

/** An image of one layer, whose file `/name` has `content`. */
export interface TestImage {
  readonly manifest: TestBlob;
  readonly config: TestBlob;
  readonly layer: TestBlob;
  /** uncompressed archive of the layer */
  readonly archive: Buffer;
  readonly diffId: string;
}

export function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export function blob(bytes: Buffer, mediaType: string): TestBlob {
  return { bytes, digest: sha256(bytes), mediaType };
}

export function jsonBlob(value: object, mediaType: string): TestBlob {
  return blob(Buffer.from(JSON.stringify(value)), mediaType);
}

export function descriptorOf({ bytes, digest, mediaType }: TestBlob): {
  mediaType: string;
  digest: string;
  size: number;
} {
  return { mediaType, digest, size: bytes.length };
}

export const TYPES = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const;

/** Makes an image; `content` tells images apart, `bytes` adds a file without structure to its layer. */
export async function makeTestImage(
  content: string,
  { architecture = 'amd64', bytes }: { readonly architecture?: string; readonly bytes?: Buffer } = {},
): Promise<TestImage> {
  const archive = await tarOf([
    { name: 'name', content },
    ...(bytes === undefined ? [] : [{ name: 'bytes', content: bytes.toString('hex') }]),
  ]);
  const layer = blob(gzipSync(archive), TYPES.layer);
  const diffId = sha256(archive);
  const config = jsonBlob(
    {
      os: 'linux',
      architecture,
      rootfs: { type: 'layers', diff_ids: [diffId] },
      config: { Cmd: [content], Env: ['A=b'] },
    },
    TYPES.config,
  );
  const manifest = jsonBlob(
    {
      schemaVersion: 2,
      mediaType: TYPES.manifest,
      config: descriptorOf(config),
      layers: [descriptorOf(layer)],
    },
    TYPES.manifest,
  );
  return { manifest, config, layer, archive, diffId };
}

/** Writes a layout with images by their tags. */
export async function writeLayout(path: string, images: Readonly<Record<string, TestImage>>): Promise<void> {
  await mkdir(join(path, 'blobs/sha256'), { recursive: true });
  await writeFile(join(path, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  const manifests = Object.entries(images).map(([tag, { manifest }]) => ({
    ...descriptorOf(manifest),
    annotations: { 'org.opencontainers.image.ref.name': tag },
  }));
  await writeFile(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  for (const { manifest, config, layer } of Object.values(images)) {
    for (const { digest, bytes } of [manifest, config, layer]) await writeFile(blobPath(path, digest), bytes);
  }
}

export function blobPath(layout: string, digest: string): string {
  return join(layout, 'blobs', digest.replace(':', '/'));
}

/** A folder for a test with a store. */
export interface TestStore extends AsyncDisposable {
  /** folder for files of the test */
  readonly folder: string;
  readonly store: { readonly directory: string; readonly limit?: number };
  readonly context: ImageContext;
}

/** Makes a store with the deadlines of tests. */
export async function makeTestStore(options: StoreOptions = {}): Promise<TestStore> {
  const folder = await mkdtemp(join(tmpdir(), 'nephos-images-'));
  const store = { ...options, directory: join(folder, 'store') };
  const context: ImageContext = {
    store,
    writeSquashfs,
    openLocalImage,
    openRegistry: async (reference, names, call) =>
      openRegistrySource({
        reference,
        ...names,
        ...call,
        registry: { insecure: [], limits: { answerMs: 1000, stallMs: 400, stallBytes: 1024 } },
        retries: { attempts: 3, firstMs: 5, progressBytes: 4096 },
      }),
  };
  return {
    folder,
    store,
    context,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
