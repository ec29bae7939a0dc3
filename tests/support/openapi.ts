import { problemsOf } from './json-schema.ts';
import type { TestVmm } from './vmm.ts';

type Json = Readonly<Record<string, unknown>>;

/** A document as a VMM serves it. */
export interface ServedDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Json>> };
}

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, Json>> }>>;
}

/** Fetches one of the documents of a VMM. */
export async function servedDocument(vmm: TestVmm, path: string): Promise<ServedDocument> {
  return (await vmm.get(path)).json as ServedDocument;
}

interface Sent {
  readonly method: 'get' | 'put';
  readonly path: string;
}

interface Answered {
  readonly status: number;
  readonly json: unknown;
}

/** Returns the differences of an answer from a document: of its status, or of its body. */
export function faultsOf(
  document: ServedDocument,
  { method, path }: Sent,
  { status, json }: Answered,
): string[] {
  const response = document.paths[`/${path}`]?.[method]?.responses[status];
  if (response === undefined) return [`${path}: the document has no ${status}`];
  const schema = response.content?.['application/json']?.['schema'];
  if (schema === undefined)
    return json === undefined ? [] : [`${path}: ${status} has no body in the document`];
  return problemsOf(schema as Json, json, { at: path, schemas: document.components.schemas });
}
