import { digestOf, hasDigest } from './digest.ts';
import { ImageError } from './image-error.ts';
import type { ImageSource } from './image-source.ts';
import { DOCUMENT_LIMITS, decodeManifest, type Descriptor, type ImageManifest } from './manifest.ts';
import { choosePlatform, showPlatform, type Platform } from './platform.ts';
import { readBlob } from './store/blobs.ts';
import type { Store } from './store/store.ts';

/** The manifest of one platform. */
export interface SelectedManifest {
  readonly manifest: ImageManifest;
  readonly bytes: Buffer;
  readonly digest: string;
  /** Digest of the document that the name refers to */
  readonly root: string;
}

/** Finds the manifest of a platform, through indexes. @throws ImageError `not-found` that lists the platforms of the image */
export async function selectManifest(
  store: Store,
  source: ImageSource,
  platform: Platform,
): Promise<SelectedManifest> {
  const document = await source.readRoot();
  const root = digestOf(document.bytes);
  let { bytes, mediaType } = document;
  let digest = root;
  for (let depth = 0; depth <= DOCUMENT_LIMITS.depth; depth++) {
    const decoded = decodeManifest(source.shown, bytes, mediaType);
    if (decoded.kind === 'manifest') return { manifest: decoded, bytes, digest, root };
    const entry = chooseEntry(source.shown, decoded.manifests, platform);
    bytes = await readDocument(store, source, entry, 'manifest');
    ({ mediaType, digest } = entry);
  }
  throw new ImageError('invalid', source.shown, `it has more than ${DOCUMENT_LIMITS.depth} nested indexes`);
}

/** Attestations and other additions have this annotation of docker, or an unknown platform. */
function isImage({ annotations, platform }: Descriptor): boolean {
  return annotations?.['vnd.docker.reference.type'] === undefined && platform?.os !== 'unknown';
}

function chooseEntry(image: string, manifests: readonly Descriptor[], platform: Platform): Descriptor {
  const entries = manifests
    .filter(isImage)
    .map((descriptor) => ({ descriptor, platform: descriptor.platform ?? undefined }));
  const chosen = choosePlatform(entries, platform);
  if (chosen !== undefined) return chosen.descriptor;
  // an index of one entry may leave its platform out: the configuration has it
  const [only, ...others] = entries;
  if (only !== undefined && others.length === 0 && only.platform === undefined) return only.descriptor;
  const shown = entries.map((entry) => (entry.platform === undefined ? '' : showPlatform(entry.platform)));
  throw missingPlatform(image, platform, shown);
}

/** Makes the error for an image without a platform. */
export function missingPlatform(image: string, platform: Platform, others: readonly string[]): ImageError {
  const list = [...new Set(others.filter((one) => one !== ''))].slice(0, 12).join(', ');
  const remedy = list === '' ? 'it names no platform at all' : `it has ${list}`;
  return new ImageError('not-found', image, `it has no ${showPlatform(platform)}; ${remedy}`);
}

/** Returns a manifest or configuration of the store, or of the source, whose size and digest are verified. */
export async function readDocument(
  store: Store,
  source: ImageSource,
  descriptor: Descriptor,
  kind: 'manifest' | 'config',
): Promise<Buffer> {
  const { digest, size } = descriptor;
  const limit = DOCUMENT_LIMITS[kind];
  if (size > limit) {
    const reason = `${kind} ${digest} has ${size} bytes, more than ${limit}`;
    throw new ImageError('too-large', source.shown, reason);
  }
  const stored = await readBlob(store, digest, limit);
  const bytes = stored ?? (await source.readDocument(descriptor, kind));
  if (bytes.length !== size) {
    const reason = `${kind} ${digest} has ${bytes.length} bytes instead of ${size}; the source is damaged or hostile`;
    throw new ImageError('invalid', source.shown, reason);
  }
  if (!hasDigest(bytes, digest)) {
    const reason = `the content of ${kind} ${digest} does not have this digest; the source is damaged or hostile`;
    throw new ImageError('invalid', source.shown, reason);
  }
  return bytes;
}
