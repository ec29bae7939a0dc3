import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { digestOf } from '../digest.ts';
import { ImageError } from '../image-error.ts';
import type { ImageSource } from '../image-source.ts';
import { decode, DOCUMENT_LIMITS, parseJson, type Descriptor } from '../manifest.ts';
import { parseReference, showReference } from '../reference.ts';
import { readRange, readWhole, type FileRange, type ImageFiles } from './image-files.ts';

/*
 * Archives of `docker save`, of old and new versions, also as written by `skopeo` and `podman`: `manifest.json` names the
 * configuration, the layers and the references of each image. The archive has no manifest of the OCI image specification; one is made from it,
 * which is equal for equal images.
 */

const manifestSchema = v.pipe(
  v.array(
    v.object({
      Config: v.string(),
      RepoTags: v.nullish(v.array(v.string())),
      Layers: v.nullish(v.pipe(v.array(v.string()), v.maxLength(DOCUMENT_LIMITS.layers))),
    }),
  ),
  v.maxLength(DOCUMENT_LIMITS.entries),
);

type SavedImage = v.InferOutput<typeof manifestSchema>[number];

/** An archive that holds an image. */
export interface ArchiveRequest {
  /** Name in the store */
  readonly name: string;
  /** Name as the user gave it */
  readonly shown: string;
  readonly files: ImageFiles;
  /** A reference of the image; undefined where the archive has one image only */
  readonly tag: string | undefined;
  readonly state: string;
}

/** Opens an image in an archive. */
export function archiveSource(request: ArchiveRequest): ImageSource {
  const { name, shown, files, state } = request;
  const paths = new Map<string, string>();
  return {
    name,
    shown,
    state,
    readRoot: async () => ({
      bytes: await makeManifest(request, paths),
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
    }),
    readDocument: ({ digest }) => readMember(shown, files, paths.get(digest) ?? ''),
    fillArchive: async ({ digest }, sink, signal) => {
      await using range = await openMember(shown, files, paths.get(digest) ?? '');
      for await (const piece of readRange(range, sink.offset)) {
        signal.throwIfAborted();
        await sink.write(piece);
      }
    },
  };
}

/** Makes the manifest of an image. `paths` gets the paths of its blobs by their digests. */
async function makeManifest(request: ArchiveRequest, paths: Map<string, string>): Promise<Buffer> {
  const { shown, files } = request;
  const image = chooseImage(request, await readImages(shown, files));
  const config = await readMember(shown, files, image.Config);
  paths.set(digestOf(config), image.Config);
  const layers: Omit<Descriptor, 'platform' | 'annotations'>[] = [];
  for (const path of image.Layers ?? []) {
    const layer = await describeLayer(shown, files, path);
    paths.set(layer.digest, path);
    layers.push(layer);
  }
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestOf(config),
      size: config.length,
    },
    layers,
  };
  return Buffer.from(JSON.stringify(manifest));
}

async function readImages(shown: string, files: ImageFiles): Promise<SavedImage[]> {
  const bytes = await readWhole(shown, files, 'manifest.json', DOCUMENT_LIMITS.manifest);
  if (bytes === undefined) {
    const isOld = (await files.open('repositories')) !== undefined;
    const reason = isOld ? 'it was saved by docker before version 1.10' : 'it has no manifest.json';
    throw new ImageError('invalid', shown, `its archive is not one of docker save: ${reason}`);
  }
  return decode(shown, 'manifest.json', manifestSchema, parseJson(shown, 'manifest.json', bytes));
}

function chooseImage({ shown, tag }: ArchiveRequest, images: readonly SavedImage[]): SavedImage {
  const [only, ...others] = images;
  if (only === undefined) throw new ImageError('not-found', shown, 'its archive has no image');
  const tags = images.flatMap(({ RepoTags }) => RepoTags ?? []);
  const list = tags.slice(0, 12).join(', ');
  if (tag === undefined) {
    if (others.length === 0) return only;
    throw new ImageError('not-found', shown, `its archive has several images; add one of the names ${list}`);
  }
  const wanted = comparable(tag);
  const found = images.find(({ RepoTags }) =>
    (RepoTags ?? []).some((one) => one === tag || comparable(one) === wanted),
  );
  if (found !== undefined) return found;
  const remedy = list === '' ? 'leave the name out: its archive has none' : `its archive has ${list}`;
  throw new ImageError('not-found', shown, `there is no ${JSON.stringify(tag)}; ${remedy}`);
}

/** Returns a form of a reference that is equal for each way to write it. */
function comparable(text: string): string {
  try {
    return showReference(parseReference(text));
  } catch (error) {
    if (error instanceof ImageError) return text;
    throw error;
  }
}

const GZIP_MAGIC = '1f8b';
const ZSTD_MAGIC = '28b52ffd';

async function describeLayer(
  shown: string,
  files: ImageFiles,
  path: string,
): Promise<Omit<Descriptor, 'platform' | 'annotations'>> {
  await using range = await openMember(shown, files, path);
  if (range.size > DOCUMENT_LIMITS.layer)
    throw new ImageError('too-large', shown, `its layer ${path} has ${range.size} bytes`);
  const hash = createHash('sha256');
  let head = '';
  for await (const piece of readRange(range, 0)) {
    if (head === '') head = piece.toString('hex', 0, 4);
    hash.update(piece);
  }
  const compression = head.startsWith(GZIP_MAGIC) ? '+gzip' : head === ZSTD_MAGIC ? '+zstd' : '';
  return {
    mediaType: `application/vnd.oci.image.layer.v1.tar${compression}`,
    digest: `sha256:${hash.digest('hex')}`,
    size: range.size,
  };
}

async function readMember(shown: string, files: ImageFiles, path: string): Promise<Buffer> {
  const bytes = await readWhole(shown, files, path, DOCUMENT_LIMITS.config);
  if (bytes === undefined) throw missingMember(shown, path);
  return bytes;
}

async function openMember(shown: string, files: ImageFiles, path: string): Promise<FileRange> {
  const range = await files.open(path);
  if (range === undefined) throw missingMember(shown, path);
  return range;
}

function missingMember(shown: string, path: string): ImageError {
  return new ImageError('invalid', shown, `its archive lacks the file ${JSON.stringify(path.slice(0, 200))}`);
}
