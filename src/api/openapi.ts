import { documentOf, nestedStructs, type DocumentView } from '../schema/openapi-schema.ts';
import type { DocumentFragment } from '../schema/field.ts';
import { allAnswers } from './answers.ts';
import { DeviceNode, ErrorMessages, type NamedMap } from './replies.ts';
import { OperationInfo } from './operations.ts';
import type { Endpoints, NamedSchema, RouteDefinition } from './route.ts';
import { ROUTES } from './routes.ts';
import { streamPaths, streamSchemas } from './stream-document.ts';
import { upgradePaths } from './upgrade-document.ts';

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
    paths: {
      ...pathsOf(routes, view),
      ...(view === 'everything' ? { ...streamPaths(), ...upgradePaths() } : {}),
    },
    components: {
      schemas: {
        ...schemasOf(
          routes.map(([, route]) => route),
          view,
        ),
        ...(view === 'everything' ? streamSchemas() : {}),
      },
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

/** Returns the paths with their methods, in the order of the routes. */
function pathsOf(
  routes: readonly [string, RouteDefinition][],
  view: DocumentView,
): Record<string, DocumentFragment> {
  const paths: Record<string, DocumentFragment> = {};
  for (const [name, route] of routes) {
    const path = `/${route.path ?? name}`;
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: methodOf(route, view) };
  }
  return paths;
}

function methodOf(route: RouteDefinition, view: DocumentView): DocumentFragment {
  const { summary, operationId } = route;
  return {
    summary,
    ...(operationId === undefined ? {} : { operationId }),
    ...requestOf(route),
    responses: responsesOf(route, view),
    // states of the VM in which the endpoint may be called; `none`: there is no VM
    ...(view === 'everything' ? { 'x-phases': route.phases } : {}),
  };
}

/** Returns the body of a request, or the parameter in its path. */
function requestOf({ request, requestDoc, body, path }: RouteDefinition): DocumentFragment {
  if (request === undefined) return {};
  if (body === 'required') {
    return { requestBody: { description: requestDoc, content: contentOf(request), required: true } };
  }
  const parameters = Object.entries(request.fields)
    .filter(([name]) => path?.endsWith(`/{${name}}`))
    .map(([name, { doc, everything }]) => ({
      name,
      in: 'path',
      required: true,
      description: doc,
      schema: everything,
    }));
  return { parameters };
}

/** Returns the responses of a route. The contract lists few status codes, and no schema for errors. */
function responsesOf(route: RouteDefinition, view: DocumentView): DocumentFragment {
  const answers = view === 'contract' ? route.answers : allAnswers(route);
  return Object.fromEntries(
    Object.entries(answers).map(([code, description]) => {
      const reply = replyOf(route, code, view);
      const headers = view === 'everything' ? headersOf(route, code) : {};
      return [
        code,
        { description, ...headers, ...(reply === undefined ? {} : { content: contentOf(reply) }) },
      ];
    }),
  );
}

/** Returns the schema of the body with a status code; undefined if the answer has no body. */
function replyOf(route: RouteDefinition, code: string, view: DocumentView): NamedSchema | undefined {
  if (view === 'everything' && Number(code) >= 400) return ErrorMessages;
  if (code === '202') return OperationInfo;
  return code === '200' ? route.reply : undefined;
}

function headersOf(route: RouteDefinition, code: string): DocumentFragment {
  const text = (description: string, schema: DocumentFragment = {}): DocumentFragment => ({
    description,
    schema: { type: 'string', ...schema },
  });
  if (code === '405') {
    const allow = text('The methods of this path, if the request had another one', {
      enum: [methodsOfPath(route)],
    });
    return { headers: { Allow: allow } };
  }
  if (code !== '202') return {};
  return {
    headers: {
      Location: text('Path of the operation, e.g. `/api/v1/vmm.operations/<id>`'),
      'Preference-Applied': text('`respond-async`, and `wait` if the request had it'),
    },
  };
}

/** Returns the methods of a route's path, as the header `Allow` has them. */
function methodsOfPath({ path, method }: RouteDefinition): string {
  if (path === undefined) return method;
  const routes = Object.values<RouteDefinition>(ROUTES).filter((route) => route.path === path);
  return routes.map((route) => route.method).join(', ');
}

function contentOf({ name }: NamedSchema): DocumentFragment {
  return { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } };
}

function schemasOf(
  routes: readonly RouteDefinition[],
  view: DocumentView,
): Readonly<Record<string, DocumentFragment>> {
  const named = routes
    .flatMap(({ request, reply, body, replyBeyond }): readonly (NamedSchema | undefined)[] => [
      body === 'required' ? request : undefined,
      replyBeyond === true && view === 'contract' ? undefined : reply,
    ])
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
