import { asRecord, asText, asTexts, type Json, type JsonRecord } from './json.ts';

/** Part of a schema of the OpenAPI document that forms need. */
export interface Schema {
  readonly type: string;
  readonly description: string;
  readonly enum: readonly string[];
  readonly defaultValue: Json | undefined;
  readonly minimum: number | undefined;
  readonly maximum: number | undefined;
  readonly pattern: string | undefined;
  readonly required: readonly string[];
  readonly properties: Readonly<Record<string, Json>>;
}

/** A request of the API. */
export interface ApiRequest {
  /** path below `/api/v1/`, e.g. `vm.boot` */
  readonly name: string;
  readonly method: 'GET' | 'PUT';
  readonly summary: string;
  /** states of the VM in which it may be called; `none`: there is no VM */
  readonly phases: readonly string[];
  /** schema of its body; undefined: it has none */
  readonly body: Json | undefined;
}

/** The served OpenAPI document (`openapi-everything.json`). */
export interface ApiDocument {
  readonly requests: readonly ApiRequest[];
  /** Follows references and fills in what a schema leaves out. */
  readonly read: (schema: Json) => Schema;
}

/** Reads the document. Members that are absent or of another type count as not there. */
export function readDocument(json: Json): ApiDocument {
  const document = asRecord(json);
  const schemas = asRecord(asRecord(document['components'])['schemas']);
  const read = (schema: Json): Schema => readSchema(withReference(asRecord(schema), schemas));
  return { requests: Object.entries(asRecord(document['paths'])).flatMap(requestsOf), read };
}

function requestsOf([path, methods]: [string, Json]): ApiRequest[] {
  return (['GET', 'PUT'] as const).flatMap((method) => {
    const operation = asRecord(methods)[method.toLowerCase()];
    if (operation === undefined) return [];
    const { summary = null, requestBody = null, 'x-phases': phases = null } = asRecord(operation);
    const content = asRecord(asRecord(requestBody)['content']);
    const body = asRecord(content['application/json'])['schema'];
    // an endpoint that is never served has no answer of success
    const isServed = asRecord(asRecord(operation)['responses'])['501'] === undefined;
    const known = isServed ? asTexts(phases) : [];
    return [{ name: path.slice(1), method, summary: asText(summary), phases: known, body }];
  });
}

const REFERENCE = '#/components/schemas/';

/** Replaces `$ref`, and `allOf` with one reference, by the schema; members beside it stay. */
function withReference(schema: JsonRecord, schemas: JsonRecord): JsonRecord {
  const [first] = Array.isArray(schema['allOf']) ? schema['allOf'] : [];
  const reference = asText(schema['$ref'] ?? asRecord(first)['$ref']);
  if (!reference.startsWith(REFERENCE)) return schema;
  return { ...asRecord(schemas[reference.slice(REFERENCE.length)]), ...schema };
}

function readSchema(schema: JsonRecord): Schema {
  const numberOf = (name: string): number | undefined => {
    const value = schema[name];
    return typeof value === 'number' ? value : undefined;
  };
  return {
    type: asText(schema['type']),
    description: asText(schema['description']),
    enum: asTexts(schema['enum']),
    defaultValue: schema['default'],
    minimum: numberOf('minimum'),
    maximum: numberOf('maximum'),
    pattern: asText(schema['pattern']) || undefined,
    required: asTexts(schema['required']),
    properties: asRecord(schema['properties']),
  };
}
