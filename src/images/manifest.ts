import * as v from 'valibot';
import { isDigest } from './digest.ts';
import type { ImageProcess } from './image.ts';
import { ImageError } from './image-error.ts';

/*
 * Documents of the OCI image specification 1.1 (manifest, index, configuration) and of docker's schema 2: bytes of a hostile
 * source to checked values.
 */

/** Bounds of documents. */
export const DOCUMENT_LIMITS = {
  /** largest manifest or index in `bytes`, as registries have it */
  manifest: 4 * 2 ** 20,
  /** largest configuration in `bytes` */
  config: 8 * 2 ** 20,
  /** most layers of an image */
  layers: 256,
  /** most entries of an index */
  entries: 1024,
  /** most indexes between a name and a manifest */
  depth: 4,
  /** largest layer in `bytes`, compressed */
  layer: 64 * 2 ** 30,
  /** largest sum of all layers in `bytes`, compressed */
  total: 128 * 2 ** 30,
} as const;

/** Media types that are asked for, the preferred first. */
export const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
] as const;

const INDEX_TYPES: readonly string[] = MANIFEST_TYPES.slice(0, 2);

const CONFIG_TYPES: readonly string[] = [
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
];

const LAYER_TYPE =
  /^application\/vnd\.(?:oci\.image\.layer(?:\.nondistributable)?\.v1\.tar(?:\+(?:gzip|zstd))?|docker\.image\.rootfs\.(?:diff|foreign\.diff)\.tar(?:\.(?:gzip|zstd))?)$/;

const optionalText = v.nullish(v.string());

const platformSchema = v.object({
  os: v.optional(v.string(), ''),
  architecture: v.optional(v.string(), ''),
  variant: v.optional(v.string()),
});

const descriptorSchema = v.object({
  mediaType: v.optional(v.string(), ''),
  digest: v.pipe(v.string(), v.check(isDigest, 'is not a sha256 or sha512 digest')),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  platform: v.nullish(platformSchema),
  annotations: v.nullish(v.record(v.string(), v.string())),
});

/** A reference to a blob with its size in bytes. */
export type Descriptor = v.InferOutput<typeof descriptorSchema>;

const manifestSchema = v.object({
  config: descriptorSchema,
  layers: v.pipe(v.array(descriptorSchema), v.maxLength(DOCUMENT_LIMITS.layers)),
});

const indexSchema = v.object({
  manifests: v.pipe(v.array(descriptorSchema), v.maxLength(DOCUMENT_LIMITS.entries)),
});

/** A manifest of one platform. */
export interface ImageManifest {
  readonly kind: 'manifest';
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** A list of manifests, usually one for each platform. */
export interface ImageIndex {
  readonly kind: 'index';
  readonly manifests: readonly Descriptor[];
}

const textList = v.nullish(v.array(v.string()));

const configSchema = v.object({
  os: optionalText,
  architecture: optionalText,
  variant: optionalText,
  created: optionalText,
  rootfs: v.object({
    diff_ids: v.nullish(v.array(v.pipe(v.string(), v.check(isDigest, 'is not a sha256 or sha512 digest')))),
  }),
  config: v.nullish(
    v.object({
      Entrypoint: textList,
      Cmd: textList,
      Env: textList,
      WorkingDir: optionalText,
      User: optionalText,
      StopSignal: optionalText,
      ExposedPorts: v.nullish(v.record(v.string(), v.unknown())),
      Labels: v.nullish(v.record(v.string(), v.string())),
    }),
  ),
});

/** Configuration of an image. */
export interface ImageConfig {
  /** of the platform; empty where the image does not say it */
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly created?: string;
  readonly diffIds: readonly string[];
  readonly process: ImageProcess;
  readonly labels: Readonly<Record<string, string>>;
}

/** Decodes a manifest or an index. `type` is the media type that its descriptor or answer has. @throws ImageError `invalid` */
export function decodeManifest(image: string, bytes: Buffer, type: string): ImageManifest | ImageIndex {
  const json = parseJson(image, 'manifest', bytes);
  const shape = decode(image, 'manifest', v.looseObject({ mediaType: optionalText }), json);
  checkSchemaVersion(image, shape['schemaVersion'], shape.mediaType ?? type);
  const isIndex = 'manifests' in shape;
  // a document that is both would have another meaning for another program (CVE-2021-41190)
  if (isIndex && ('layers' in shape || 'config' in shape))
    throw invalid(image, 'its manifest is a manifest and an index at the same time');
  const claimed = shape.mediaType ?? type;
  if (isKnownType(claimed) && INDEX_TYPES.includes(claimed) !== isIndex)
    throw invalid(image, `its manifest has another content than its media type ${claimed}`);
  if (isIndex) return { kind: 'index', manifests: decode(image, 'index', indexSchema, json).manifests };
  const { config, layers } = decode(image, 'manifest', manifestSchema, json);
  checkManifest(image, config, layers);
  return { kind: 'manifest', config, layers };
}

function isKnownType(type: string): boolean {
  return MANIFEST_TYPES.some((one) => one === type);
}

function checkSchemaVersion(image: string, version: unknown, type: string): void {
  if (version === 1 || /docker\.distribution\.manifest\.v1\+/.test(type)) {
    const reason =
      "its manifest has docker's old schema 1; push the image again with a current docker or skopeo";
    throw invalid(image, reason);
  }
  if (version !== undefined && version !== 2)
    throw invalid(image, `its manifest has the unknown schema version ${JSON.stringify(version)}`);
}

function checkManifest(image: string, config: Descriptor, layers: readonly Descriptor[]): void {
  if (!CONFIG_TYPES.includes(config.mediaType)) {
    const reason = `it is no container image: its configuration has the media type ${JSON.stringify(config.mediaType)}`;
    throw invalid(image, reason);
  }
  const wrong = layers.find(({ mediaType }) => !LAYER_TYPE.test(mediaType));
  if (wrong !== undefined) {
    const reason = `layer ${wrong.digest} has the media type ${JSON.stringify(wrong.mediaType)}, which is not supported`;
    throw invalid(image, reason);
  }
  const large = layers.find(({ size }) => size > DOCUMENT_LIMITS.layer);
  const total = layers.reduce((sum, { size }) => sum + size, 0);
  if (large !== undefined || total > DOCUMENT_LIMITS.total)
    throw new ImageError('too-large', image, `its layers have ${total} bytes, or one has too many`);
}

/** Decodes the configuration of an image. @throws ImageError `invalid` */
export function decodeConfig(image: string, bytes: Buffer): ImageConfig {
  const json = parseJson(image, 'configuration', bytes);
  const { os, architecture, variant, created, rootfs, config } = decode(
    image,
    'configuration',
    configSchema,
    json,
  );
  return {
    os: os ?? '',
    architecture: architecture ?? '',
    ...(variant == null || variant === '' ? {} : { variant }),
    ...(created == null ? {} : { created }),
    diffIds: rootfs.diff_ids ?? [],
    process: processOf(image, config ?? {}),
    labels: config?.Labels ?? {},
  };
}

type RawProcess = Partial<NonNullable<v.InferOutput<typeof configSchema>['config']>>;

function processOf(image: string, raw: RawProcess): ImageProcess {
  const [entrypoint, command, env] = [raw.Entrypoint ?? [], raw.Cmd ?? [], raw.Env ?? []];
  const [directory, user, stopSignal] = [raw.WorkingDir ?? '', raw.User ?? '', raw.StopSignal ?? ''];
  if ([...entrypoint, ...command, ...env, directory, user, stopSignal].some((text) => text.includes('\0')))
    throw invalid(image, 'its configuration has a NUL character in a text');
  return {
    entrypoint,
    command,
    env,
    workingDirectory: directory || '/',
    user,
    stopSignal: stopSignal || 'SIGTERM',
    exposedPorts: Object.keys(raw.ExposedPorts ?? {}),
  };
}

/** Parses JSON of a hostile source. @throws ImageError `invalid`, without the content */
export function parseJson(image: string, what: string, bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw invalid(image, `its ${what} is not JSON`, cause);
  }
}

/** Checks JSON against a schema. @throws ImageError `invalid` that names the member */
export function decode<T extends v.GenericSchema>(
  image: string,
  what: string,
  schema: T,
  json: unknown,
): v.InferOutput<T> {
  const result = v.safeParse(schema, json, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  const member = path === null ? '' : `, member ${path.slice(0, 100)}`;
  throw invalid(image, `its ${what} is wrong${member}: ${issue.message.slice(0, 200)}`);
}

function invalid(image: string, reason: string, cause?: unknown): ImageError {
  return new ImageError('invalid', image, reason, cause === undefined ? undefined : { cause });
}
