import type { DocumentFragment } from '../schema/field.ts';
import { upgradeAnswers } from './answers.ts';
import { UPGRADE_ROUTES, type UpgradeDefinition } from './upgrade-routes.ts';

/** Returns the paths of WebSockets for the document. */
export function upgradePaths(): Record<string, DocumentFragment> {
  return Object.fromEntries(
    Object.entries<UpgradeDefinition>(UPGRADE_ROUTES).map(([name, route]) => [
      `/${name}`,
      { get: methodOf(route) },
    ]),
  );
}

function methodOf({ summary, parameters, answers }: UpgradeDefinition): DocumentFragment {
  const errors = { 'application/json': { schema: { $ref: '#/components/schemas/ErrorMessages' } } };
  const allow = {
    Allow: {
      description: 'The method of this path, if the request had another one',
      schema: { type: 'string', enum: ['GET'] },
    },
  };
  return {
    summary,
    parameters: parameters.map(({ name, doc, required = false, schema }) => ({
      name,
      in: 'query',
      required,
      description: doc,
      schema,
    })),
    responses: Object.fromEntries(
      Object.entries(upgradeAnswers(answers)).map(([code, description]) => [
        code,
        {
          description,
          ...(code === '405' ? { headers: allow } : {}),
          ...(code === '101' ? {} : { content: errors }),
        },
      ]),
    ),
  };
}
