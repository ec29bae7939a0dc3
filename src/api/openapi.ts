import { documentOf, nestedStructs, type DocumentView } from '../schema/openapi-schema.ts';
import type { DocumentFragment } from '../schema/field.ts';
import { allAnswers } from './answers.ts';
import { DeviceNode, ErrorMessages, type NamedMap } from './replies.ts';
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
 * Returns the document, derived from the table of routes and the structs. View `contract` has exactly the paths and schemas of
 * the published document; `everything` also has those beyond it.
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
    paths: Object.fromEntries(routes.map(([name, route]) => [`/${name}`, pathOf(route, view)])),
    components: {
      schemas: schemasOf(
        routes.map(([, route]) => route),
        view,
      ),
    },
  };
}

/** Returns the endpoints of both documents: `openapi.json` (the contract) and `openapi-everything.json`. */
export function documentEndpoints(): Endpoints {
  const route = { method: 'GET', body: 'ignored', decode: () => undefined, notAllowed: () => true } as const;
  return new Map([
    ['openapi.json', { route, handle: async () => openApiDocument('contract') }],
    ['openapi-everything.json', { route, handle: async () => openApiDocument('everything') }],
  ]);
}

function pathOf(route: RouteDefinition, view: DocumentView): DocumentFragment {
  const { summary, operationId, request, requestDoc } = route;
  return {
    [route.method.toLowerCase()]: {
      summary,
      ...(operationId === undefined ? {} : { operationId }),
      ...(request === undefined
        ? {}
        : { requestBody: { description: requestDoc, content: contentOf(request), required: true } }),
      responses: responsesOf(route, view),
    },
  };
}

/** Returns the responses of a route. The contract lists few status codes, and no schema for errors. */
function responsesOf(route: RouteDefinition, view: DocumentView): DocumentFragment {
  const answers = view === 'contract' ? route.answers : allAnswers(route);
  return Object.fromEntries(
    Object.entries(answers).map(([code, description]) => {
      const reply = view === 'everything' && Number(code) >= 400 ? ErrorMessages : route.reply;
      const hasBody = code === '200' || reply === ErrorMessages;
      const allow = view === 'everything' && code === '405' ? { headers: allowHeader(route) } : {};
      return [
        code,
        { description, ...allow, ...(hasBody && reply !== undefined ? { content: contentOf(reply) } : {}) },
      ];
    }),
  );
}

function allowHeader({ method }: RouteDefinition): DocumentFragment {
  const description = 'The method of this path, if the request had another one';
  return { Allow: { description, schema: { type: 'string', enum: [method] } } };
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
  // values of the device tree, which no field nests
  const all: readonly NamedSchema[] = [
    ...named,
    DeviceNode,
    ...(view === 'everything' ? [ErrorMessages] : []),
  ];
  return Object.fromEntries(
    all.map((schema) => [schema.name, 'fields' in schema ? documentOf(schema, view) : mapOf(schema, view)]),
  );
}

function mapOf(schema: NamedMap, view: DocumentView): DocumentFragment {
  return { ...(view === 'everything' ? schema.everything : schema.document), description: schema.doc };
}
