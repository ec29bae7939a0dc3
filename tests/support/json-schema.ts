import type { TestVmm } from './vmm.ts';

type Json = Readonly<Record<string, unknown>>;

/** Returns the violations of a schema of a served OpenAPI document by a value. */
export async function againstDocument(
  vmm: TestVmm,
  document: 'openapi.json' | 'openapi-everything.json',
  [name, value]: readonly [schema: string, value: unknown],
): Promise<string[]> {
  const { components } = (await vmm.get(document)).json as { components: { schemas: Record<string, Json> } };
  const schema = components.schemas[name];
  if (schema === undefined) throw new Error(`${document} has no schema ${name}`);
  return problemsOf(schema, value, { at: name, schemas: components.schemas });
}

interface Context {
  readonly at: string;
  readonly schemas: Readonly<Record<string, Json>>;
}

/** Returns the violations of a schema by a value; the schema may refer to others of its document. */
export function problemsOf(schema: Json, value: unknown, context: Context): string[] {
  const { at, schemas } = context;
  const { $ref: ref, allOf: all } = schema;
  if (typeof ref === 'string') {
    const target = schemas[ref.slice(ref.lastIndexOf('/') + 1)];
    return target === undefined ? [`${at}: ${ref} is not there`] : problemsOf(target, value, context);
  }
  if (value === null) return schema['nullable'] === true ? [] : [`${at}: is null`];
  if (Array.isArray(all)) return all.flatMap((one) => problemsOf(one as Json, value, context));
  const choices = schema['enum'];
  const fits = isOfType(schema, value) && (!Array.isArray(choices) || choices.includes(value));
  if (!fits) return [`${at}: ${JSON.stringify(value)} is not ${JSON.stringify(schema)}`];
  if (isObject(value)) return objectProblems(schema, value, context);
  if (!Array.isArray(value)) return [];
  const item = schema['items'];
  return value.flatMap((one, i) => problemsOf(item as Json, one, { ...context, at: `${at}[${i}]` }));
}

function isOfType(schema: Json, value: unknown): boolean {
  switch (schema['type']) {
    case 'object':
      return isObject(value);
    case 'array':
      return Array.isArray(value) && hasLength(schema, value.length);
    case 'integer':
      return Number.isInteger(value) && isWithin(schema, Number(value));
    case 'number':
      return typeof value === 'number' && isWithin(schema, value);
    case 'string':
      return typeof value === 'string' && matches(schema, value) && hasLength(schema, value.length);
    default:
      return schema['type'] === undefined || typeof value === schema['type'];
  }
}

function objectProblems(schema: Json, value: Json, context: Context): string[] {
  const required = (schema['required'] ?? []) as readonly string[];
  const properties = (schema['properties'] ?? {}) as Readonly<Record<string, Json>>;
  const others = schema['additionalProperties'];
  const missing = required.filter((name) => !(name in value));
  return [
    ...missing.map((name) => `${context.at}.${name}: is missing`),
    ...Object.entries(value).flatMap(([name, member]) => {
      const at = `${context.at}.${name}`;
      const own = properties[name] ?? (isObject(others) ? others : undefined);
      if (own === undefined) return others === false ? [`${at}: is unknown`] : [];
      return problemsOf(own, member, { ...context, at });
    }),
  ];
}

const LARGEST: Readonly<Record<string, number>> = { int32: 2 ** 31 - 1, int64: 2 ** 63 };

function isWithin({ minimum, maximum, format }: Json, value: number): boolean {
  const most = typeof format === 'string' ? (LARGEST[format] ?? Infinity) : Infinity;
  return value >= Number(minimum ?? -most) && value <= Math.min(Number(maximum ?? Infinity), most);
}

function hasLength({ minItems, minLength, maxItems, maxLength }: Json, length: number): boolean {
  return length >= Number(minItems ?? minLength ?? 0) && length <= Number(maxItems ?? maxLength ?? Infinity);
}

function matches({ pattern }: Json, value: unknown): boolean {
  return typeof pattern !== 'string' || typeof value !== 'string' || new RegExp(pattern, 'u').test(value);
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
