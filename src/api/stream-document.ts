import type { DocumentFragment } from '../schema/field.ts';
import { streamAnswers } from './answers.ts';
import { VMM_EVENT } from './events.ts';
import { STREAM_ROUTES, type StreamDefinition } from './stream-routes.ts';

/** Returns the paths of streams for the document. */
export function streamPaths(): Record<string, DocumentFragment> {
  return Object.fromEntries(
    Object.entries<StreamDefinition>(STREAM_ROUTES).map(([name, route]) => [
      `/${name}`,
      { [route.method.toLowerCase()]: methodOf(route) },
    ]),
  );
}

/** Returns the schemas of what is streamed. */
export function streamSchemas(): Record<string, DocumentFragment> {
  return { VmmEvent: VMM_EVENT };
}

function methodOf(route: StreamDefinition): DocumentFragment {
  const { summary, parameters, contentType, format, answers } = route;
  const stream = { [contentType]: { schema: { type: 'string', description: format } } };
  const allow = {
    Allow: { description: 'The method of this path', schema: { type: 'string', enum: ['GET'] } },
  };
  const errors = { 'application/json': { schema: { $ref: '#/components/schemas/ErrorMessages' } } };
  return {
    summary,
    parameters: parameters.map(({ doc, ...rest }) => ({ ...rest, required: false, description: doc })),
    responses: Object.fromEntries(
      Object.entries(streamAnswers(answers)).map(([code, description]) => [
        code,
        {
          description,
          ...(code === '405' ? { headers: allow } : {}),
          content: code === '200' ? stream : errors,
        },
      ]),
    ),
  };
}
