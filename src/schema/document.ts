import type { DocumentFragment, Field, Struct } from './field.ts';

/** Which document is meant: the contract as the clients know it, or everything that is served. */
export type DocumentView = 'contract' | 'everything';

/** A struct as a schema of the OpenAPI document. */
export function documentOf(schema: Struct, view: DocumentView): DocumentFragment {
  const fields = fieldsOf(schema, view);
  const required = fields.filter(([, field]) => isRequired(field, view)).map(([name]) => name);
  return {
    type: 'object',
    description: schema.doc,
    ...schema.document,
    ...(required.length === 0 ? {} : { required }),
    properties: Object.fromEntries(fields.map(([name, field]) => [name, withDescription(field, view)])),
  };
}

/** The structs that a struct nests, however deep, itself first. */
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

/** In the contract's view its own word counts, which says more or less than what we need. */
function isRequired(field: Field, view: DocumentView): boolean {
  return view === 'contract' ? (field.documentRequired ?? field.required) : field.required;
}

/** OpenAPI 3.0 ignores what stands beside a `$ref`. */
function withDescription(field: Field, view: DocumentView): DocumentFragment {
  const { doc } = field;
  const document = view === 'everything' ? (field.everything ?? field.document) : field.document;
  return '$ref' in document ? document : { ...document, description: doc };
}
