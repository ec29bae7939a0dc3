import { rng } from '../../devices/rng.ts';
import { checkReadable } from '../../host/files.ts';
import { prepares } from './prepare.ts';

export const prepareRng = prepares(rng, async ({ src }) => {
  await checkReadable(src);
  return { facts: undefined };
});
