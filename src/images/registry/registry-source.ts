import { setTimeout as delay } from 'node:timers/promises';
import { hasDigest } from '../digest.ts';
import type { ImageProgress } from '../image.ts';
import { ImageError } from '../image-error.ts';
import type { OpenedSource, RootDocument } from '../image-source.ts';
import { DOCUMENT_LIMITS, MANIFEST_TYPES, type Descriptor } from '../manifest.ts';
import type { Reference } from '../reference.ts';
import type { ArchiveSink } from '../store/archive-file.ts';
import { createRegistryClient, RegistryError, type RegistryClient, type RegistryOptions } from './client.ts';
import { HttpError, type HttpReply } from './http.ts';

/** A repository that is read. */
export interface RegistryRequest {
  readonly reference: Reference;
  /** Name in the store */
  readonly name: string;
  /** Name as the user gave it */
  readonly shown: string;
  readonly registry?: RegistryOptions;
  readonly retries?: RetryLimits;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ImageProgress) => void) | undefined;
}

/** Attempts of a request. */
export interface RetryLimits {
  /** attempts without progress */
  readonly attempts: number;
  /** wait before the second attempt in milliseconds; it doubles with each */
  readonly firstMs: number;
  /** bytes of a layer that count as progress: the attempts begin again */
  readonly progressBytes: number;
}

const RETRIES: RetryLimits = { attempts: 5, firstMs: 500, progressBytes: 2 ** 20 };

/** Values that the functions of a source share. */
interface Context {
  readonly request: RegistryRequest;
  readonly client: RegistryClient;
  readonly retries: RetryLimits;
}

/** Opens an image of a registry. Nothing is requested yet. */
export function openRegistrySource(request: RegistryRequest): OpenedSource {
  const { reference, name, shown, registry, signal } = request;
  const client = createRegistryClient(shown, reference, { ...registry, signal });
  const context = { request, client, retries: request.retries ?? RETRIES };
  return {
    source: {
      name,
      shown,
      readRoot: () => readRoot(context),
      readDocument: (descriptor, kind) => {
        const path = kind === 'manifest' ? 'manifests' : 'blobs';
        return withRetries(context, async () => {
          const reply = await client.get(`${path}/${descriptor.digest}`, acceptOf(kind));
          return readBounded(context, reply, DOCUMENT_LIMITS[kind]);
        });
      },
      fillArchive: (descriptor, sink, signal) => fillArchive(context, descriptor, sink, signal),
    },
    [Symbol.asyncDispose]: async () => client[Symbol.dispose](),
  };
}

function acceptOf(kind: 'manifest' | 'config'): Record<string, string> {
  return { Accept: kind === 'manifest' ? MANIFEST_TYPES.join(', ') : '*/*' };
}

async function readRoot(context: Context): Promise<RootDocument> {
  const { reference, shown } = context.request;
  const wanted = reference.digest ?? reference.tag ?? 'latest';
  return withRetries(context, async () => {
    const reply = await context.client.get(`manifests/${wanted}`, acceptOf('manifest'));
    const mediaType = (reply.headers['content-type'] ?? '').replace(/;.*$/s, '').trim();
    const bytes = await readBounded(context, reply, DOCUMENT_LIMITS.manifest);
    if (reference.digest !== undefined && !hasDigest(bytes, reference.digest)) {
      const reason = `the registry's manifest does not have the digest ${reference.digest}; the registry is damaged or hostile`;
      throw new ImageError('invalid', shown, reason);
    }
    return { bytes, mediaType };
  });
}

/** Reads a document of bounded length. */
async function readBounded({ client, request }: Context, reply: HttpReply, limit: number): Promise<Buffer> {
  checkEncoding(request.shown, reply);
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of client.readBody(reply)) {
    pieces.push(piece);
    length += piece.length;
    if (length > limit)
      throw new ImageError(
        'too-large',
        request.shown,
        `the registry sends a document of more than ${limit} bytes`,
      );
  }
  return Buffer.concat(pieces);
}

function checkEncoding(image: string, reply: HttpReply): void {
  const encoding = reply.headers['content-encoding'] ?? 'identity';
  if (encoding === 'identity' || encoding === '') return;
  throw new ImageError(
    'invalid',
    image,
    `the registry sends the encoding ${encoding.slice(0, 40)}, which was not asked for`,
  );
}

/** Calls `act` until it succeeds, fails for good, or has no attempts left. `progressOf` returns a number that grows with progress. */
async function withRetries<T>(
  { request, retries }: Context,
  act: () => Promise<T>,
  progressOf: () => number = () => 0,
  signal = request.signal,
): Promise<T> {
  let failed = 0;
  for (let last = progressOf(); ; failed++) {
    if (progressOf() - last >= retries.progressBytes) {
      failed = 0;
      last = progressOf();
    }
    try {
      return await act();
    } catch (error) {
      signal?.throwIfAborted();
      const temporary = temporaryOf(request.shown, error);
      if (temporary === undefined) throw error;
      if (failed + 1 >= retries.attempts) throw temporary;
      const waitMs = temporary.retryAfterMs ?? retries.firstMs * 2 ** failed;
      await delay(waitMs, undefined, { signal });
    }
  }
}

function temporaryOf(image: string, error: unknown): RegistryError | undefined {
  if (error instanceof RegistryError) return error.isTemporary ? error : undefined;
  if (!(error instanceof HttpError)) return undefined;
  return new RegistryError('unreachable', image, `the registry ${error.message}`, {
    cause: error,
    isTemporary: true,
  });
}

function fillArchive(
  context: Context,
  descriptor: Descriptor,
  sink: ArchiveSink,
  signal: AbortSignal,
): Promise<void> {
  return withRetries(
    context,
    () => fillOnce(context, descriptor, sink, signal),
    () => sink.offset,
    signal,
  );
}

async function fillOnce(
  context: Context,
  descriptor: Descriptor,
  sink: ArchiveSink,
  signal: AbortSignal,
): Promise<void> {
  const { client, request } = context;
  const { digest, size } = descriptor;
  const range: Record<string, string> = sink.offset === 0 ? {} : { Range: `bytes=${sink.offset}-` };
  const reply = await client.get(`blobs/${digest}`, range);
  if (reply.statusCode === 416) {
    reply.destroy();
    await sink.restart();
    throw new HttpError(`does not continue layer ${digest}`);
  }
  checkEncoding(request.shown, reply);
  if (sink.offset > 0 && !continuesAt(reply, sink.offset)) await sink.restart();
  for await (const piece of client.readBody(reply)) {
    signal.throwIfAborted();
    await sink.write(piece);
    request.onProgress?.({ step: 'download', subject: digest, done: sink.offset, total: size });
  }
  if (sink.offset < size) throw new HttpError(`sends ${sink.offset} of ${size} bytes of layer ${digest}`);
}

/** Returns whether an answer begins at an offset; a server without ranges sends everything. */
function continuesAt(reply: HttpReply, offset: number): boolean {
  if (reply.statusCode !== 206) return false;
  return new RegExp(`^bytes ${offset}-`).test(reply.headers['content-range'] ?? '');
}
