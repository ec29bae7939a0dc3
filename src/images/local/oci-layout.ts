import * as v from 'valibot';
import { parseDigest } from '../digest.ts';
import { ImageError } from '../image-error.ts';
import type { ImageSource, RootDocument } from '../image-source.ts';
import { decode, decodeManifest, DOCUMENT_LIMITS, parseJson, type Descriptor } from '../manifest.ts';
import { readRange, readWhole, type ImageFiles } from './image-files.ts';

/*
 * OCI image layouts (OCI image specification, image layout): `oci-layout`, `index.json` and `blobs/<algorithm>/<hex>`, in a
 * directory or an archive. A layout is hostile: names in it are digests only, sizes are checked before a file is read.
 */

const LAYOUT_FILE_MAX = 4096;

const layoutSchema = v.object({ imageLayoutVersion: v.literal('1.0.0') });

/** Annotations that name an image in an index. */
const NAME_ANNOTATIONS = ['org.opencontainers.image.ref.name', 'io.containerd.image.name'] as const;

/** A layout that holds an image. */
export interface LayoutRequest {
  /** Name in the store */
  readonly name: string;
  /** Name as the user gave it */
  readonly shown: string;
  readonly files: ImageFiles;
  /** Undefined where the layout has one image only */
  readonly tag: string | undefined;
  readonly state?: string;
}

/** Opens an image in a layout. */
export function layoutSource(request: LayoutRequest): ImageSource {
  const { name, shown, files, state } = request;
  return {
    name,
    shown,
    ...(state === undefined ? {} : { state }),
    readRoot: () => readRoot(request),
    readDocument: (descriptor, kind) => readBlobFile(request, descriptor, DOCUMENT_LIMITS[kind]),
    fillArchive: async (descriptor, sink, signal) => {
      await using range = await files.open(blobName(descriptor));
      if (range === undefined) throw missingBlob(shown, descriptor);
      for await (const piece of readRange(range, sink.offset)) {
        signal.throwIfAborted();
        await sink.write(piece);
      }
    },
  };
}

async function readRoot(request: LayoutRequest): Promise<RootDocument> {
  const { shown, files } = request;
  await checkLayout(shown, files);
  const bytes = await readWhole(shown, files, 'index.json', DOCUMENT_LIMITS.manifest);
  if (bytes === undefined) throw new ImageError('invalid', shown, 'its layout has no index.json');
  const index = decodeManifest(shown, bytes, 'application/vnd.oci.image.index.v1+json');
  if (index.kind !== 'index') throw new ImageError('invalid', shown, 'its index.json is not an index');
  const chosen = chooseEntries(request, index.manifests);
  const [only] = chosen;
  if (only !== undefined && chosen.length === 1) {
    return { bytes: await readBlobFile(request, only, DOCUMENT_LIMITS.manifest), mediaType: only.mediaType };
  }
  const document = JSON.stringify({ schemaVersion: 2, manifests: chosen });
  return { bytes: Buffer.from(document), mediaType: '' };
}

async function checkLayout(shown: string, files: ImageFiles): Promise<void> {
  const bytes = await readWhole(shown, files, 'oci-layout', LAYOUT_FILE_MAX);
  if (bytes === undefined)
    throw new ImageError('invalid', shown, 'it is no OCI image layout: it has no file oci-layout');
  decode(shown, 'file oci-layout', layoutSchema, parseJson(shown, 'file oci-layout', bytes));
}

/** Chooses the entries of a tag: one, or one for each platform. */
function chooseEntries({ shown, tag }: LayoutRequest, entries: readonly Descriptor[]): readonly Descriptor[] {
  if (entries.length === 0) throw new ImageError('not-found', shown, 'its layout has no image');
  const tags = [...new Set(entries.flatMap(namesOf))];
  const list = tags
    .slice(0, 12)
    .map((one) => JSON.stringify(one))
    .join(', ');
  if (tag === undefined) {
    const refNames = new Set(entries.map(({ annotations }) => annotations?.[NAME_ANNOTATIONS[0]]));
    if (refNames.size === 1) return entries;
    throw new ImageError('not-found', shown, `its layout has several images; add one of the tags ${list}`);
  }
  const chosen = entries.filter((entry) => namesOf(entry).includes(tag) || entry.digest === tag);
  if (chosen.length > 0) return chosen;
  const remedy = tags.length === 0 ? 'leave the tag out: its layout has none' : `its layout has ${list}`;
  throw new ImageError('not-found', shown, `there is no tag ${JSON.stringify(tag)}; ${remedy}`);
}

function namesOf({ annotations }: Descriptor): string[] {
  return NAME_ANNOTATIONS.flatMap((key) => annotations?.[key] ?? []);
}

async function readBlobFile(
  { shown, files }: LayoutRequest,
  descriptor: Descriptor,
  limit: number,
): Promise<Buffer> {
  const bytes = await readWhole(shown, files, blobName(descriptor), limit);
  if (bytes === undefined) throw missingBlob(shown, descriptor);
  return bytes;
}

function blobName({ digest }: Descriptor): string {
  const { algorithm, hex } = parseDigest(digest) ?? { algorithm: 'sha256', hex: '' };
  return `blobs/${algorithm}/${hex}`;
}

function missingBlob(shown: string, { digest }: Descriptor): ImageError {
  return new ImageError('invalid', shown, `its layout lacks the blob ${digest}; copy the layout again`);
}
