import { documentOf, nestedStructs, type DocumentView } from '../schema/document.ts';
import type { DocumentFragment } from '../schema/field.ts';
import { DeviceNode } from './replies.ts';
import type { Endpoints, NamedSchema, RouteDefinition } from './route.ts';
import { ROUTES } from './routes.ts';

/** The API as an OpenAPI 3.0.1 document. */
export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: DocumentFragment;
  readonly servers: readonly DocumentFragment[];
  readonly paths: Readonly<Record<string, DocumentFragment>>;
  readonly components: { readonly schemas: Readonly<Record<string, DocumentFragment>> };
}

/**
 * Puts the document together from the table of routes and the structs. The contract's view has exactly the
 * paths and schemas of the published document; `everything` adds what we take and answer beyond it.
 */
export function openApiDocument(view: DocumentView): OpenApiDocument {
  const routes = Object.entries<RouteDefinition>(ROUTES).filter(
    ([, route]) => view === 'everything' || route.beyond !== true,
  );
  return {
    openapi: '3.0.1',
    info: {
      title: 'Cloud Hypervisor API',
      description: 'Local HTTP API that manages one virtual machine.',
      license: { name: 'Apache 2.0', url: 'http://www.apache.org/licenses/LICENSE-2.0.html' },
      version: '0.3.0',
    },
    servers: [{ url: 'http://localhost/api/v1' }],
    paths: Object.fromEntries(routes.map(([name, route]) => [`/${name}`, pathOf(route)])),
    components: {
      schemas: schemasOf(
        routes.map(([, route]) => route),
        view,
      ),
    },
  };
}

/** The document as endpoints: the contract, and `openapi-everything.json` with what goes beyond it. */
export function documentEndpoints(): Endpoints {
  const route = { method: 'GET', body: 'ignored', decode: () => undefined } as const;
  return new Map([
    ['openapi.json', { route, handle: async () => openApiDocument('contract') }],
    ['openapi-everything.json', { route, handle: async () => openApiDocument('everything') }],
  ]);
}

function pathOf(route: RouteDefinition): DocumentFragment {
  const { summary, operationId, request, requestDoc } = route;
  return {
    [route.method.toLowerCase()]: {
      summary,
      ...(operationId === undefined ? {} : { operationId }),
      ...(request === undefined
        ? {}
        : { requestBody: { description: requestDoc, content: contentOf(request), required: true } }),
      responses: Object.fromEntries(
        Object.entries(route.answers).map(([code, description]) => [
          code,
          {
            description,
            ...(code === '200' && route.reply !== undefined ? { content: contentOf(route.reply) } : {}),
          },
        ]),
      ),
    },
  };
}

function contentOf({ name }: NamedSchema): DocumentFragment {
  return { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } };
}

function schemasOf(
  routes: readonly RouteDefinition[],
  view: DocumentView,
): Readonly<Record<string, DocumentFragment>> {
  const named = routes
    .flatMap(({ request, reply }): readonly (NamedSchema | undefined)[] => [request, reply])
    .filter((schema) => schema !== undefined)
    .flatMap((schema): NamedSchema[] => ('fields' in schema ? nestedStructs(schema, view) : [schema]));
  // the device tree maps names to it, so no field nests it
  const all: readonly NamedSchema[] = [...named, DeviceNode];
  return Object.fromEntries(
    all.map((schema) => [
      schema.name,
      'fields' in schema ? documentOf(schema, view) : { ...schema.document, description: schema.doc },
    ]),
  );
}
