import type { DocumentFragment, Field, Struct } from './field.ts';

/** Kinds of documents: the contract of Cloud Hypervisor, or everything that the VMM serves. */
export type DocumentView = 'contract' | 'everything';

/** Returns a struct as a schema of the OpenAPI document. */
export function documentOf(schema: Struct, view: DocumentView): DocumentFragment {
  const fields = fieldsOf(schema, view);
  const required = fields.filter(([, field]) => isRequired(field, view)).map(([name]) => name);
  return {
    type: 'object',
    description: schema.doc,
    ...(view === 'contract' ? schema.document : {}),
    ...(view === 'everything' && schema.strict ? { additionalProperties: false } : {}),
    ...(required.length === 0 ? {} : { required }),
    properties: Object.fromEntries(fields.map(([name, field]) => [name, memberOf(field, view)])),
  };
}

/** Returns the structs that a struct nests at any depth, itself first. */
export function nestedStructs(schema: Struct, view: DocumentView): Struct[] {
  return [
    schema,
    ...fieldsOf(schema, view).flatMap(([, { nested }]) =>
      nested === undefined ? [] : nestedStructs(nested, view),
    ),
  ];
}

function fieldsOf(schema: Struct, view: DocumentView): [string, Field][] {
  return Object.entries(schema.fields).filter(([, { beyond }]) => view === 'everything' || !beyond);
}

/** Returns true if a document requires the member: the contract's document differs from the enforced requirements. */
function isRequired(field: Field, view: DocumentView): boolean {
  if (view === 'contract') return field.documentRequired ?? field.required;
  return field.required && !field.replaceable;
}

/** Returns the fragment of a member. OpenAPI 3.0 ignores members beside a `$ref`. */
function memberOf(field: Field, view: DocumentView): DocumentFragment {
  if (view === 'everything') return boundedMember(field);
  return '$ref' in field.document ? field.document : { ...field.document, description: field.doc };
}

function boundedMember({ everything, nullable, defaultValue, doc }: Field): DocumentFragment {
  const orNull = nullable ? { nullable: true } : {};
  if ('$ref' in everything)
    return nullable ? { allOf: [everything], ...orNull, description: doc } : everything;
  // an object's default is that of its members
  const byDefault =
    defaultValue === undefined || typeof defaultValue === 'object' ? {} : { default: defaultValue };
  return { ...everything, ...byDefault, ...orNull, description: doc };
}
