import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { descriptorOf, type TestBlob, type TestImage } from '../test-image.ts';

/* A registry on loopback for tests, whose answers a test replaces to be hostile. */

/** Answers one request; false: the registry answers as usual. */
export type Answer = (request: IncomingMessage, reply: ServerResponse) => boolean;

/** A running registry. */
export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:<port>` */
  readonly host: string;
  /** Method, path and `Range` of each request, e.g. `GET /v2/app/manifests/1 bytes=5-` */
  readonly requests: string[];
  /** Headers of each request */
  readonly headers: IncomingMessage['headers'][];
  /** Adds an image with a tag. */
  readonly add: (tag: string, image: TestImage) => void;
  /** Adds a document with a tag. */
  readonly addDocument: (tag: string, document: TestBlob) => void;
  /** Replaces answers. */
  answer: Answer;
}

/** Starts a registry with the repository `app`. */
export async function startTestRegistry(): Promise<TestRegistry> {
  const documents = new Map<string, TestBlob>();
  const blobs = new Map<string, TestBlob>();
  const server = createServer((request, reply) => {
    registry.requests.push(
      [request.method, request.url, request.headers.range].filter((one) => one !== undefined).join(' '),
    );
    registry.headers.push(request.headers);
    if (registry.answer(request, reply)) return;
    const [, kind, name = ''] = /^\/v2\/app\/(manifests|blobs)\/([^/]+)$/.exec(request.url ?? '') ?? [];
    const found = (kind === 'manifests' ? documents : blobs).get(name);
    if (found === undefined) {
      reply.writeHead(404).end();
      return;
    }
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const size = found.bytes.length;
    reply
      .writeHead(start === 0 ? 200 : 206, {
        'Content-Type': found.mediaType,
        ...(start === 0 ? {} : { 'Content-Range': `bytes ${start}-${size - 1}/${size}` }),
      })
      .end(found.bytes.subarray(start));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const registry: TestRegistry = {
    host: `127.0.0.1:${port}`,
    requests: [],
    headers: [],
    add: (tag, { manifest, config, layer }) => {
      registry.addDocument(tag, manifest);
      for (const one of [config, layer]) blobs.set(one.digest, one);
    },
    addDocument: (tag, document) => {
      documents.set(tag, document).set(document.digest, document);
    },
    answer: () => false,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return registry;
}

/** Makes an index of images, each with its platform. */
export function indexOf(images: Readonly<Record<string, TestImage>>): object {
  return {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: Object.entries(images).map(([platform, { manifest }]) => {
      const [os = '', architecture = '', variant] = platform.split('/');
      return {
        ...descriptorOf(manifest),
        platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
      };
    }),
  };
}
