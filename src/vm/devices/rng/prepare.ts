import { rng } from '../../../devices/rng/index.ts';
import { checkReadable } from '../../../host/files/cache-folder.ts';
import { prepares } from '../prepare.ts';

export const prepareRng = prepares(rng, async ({ src }) => {
  await checkReadable(src);
  return { facts: undefined };
});
