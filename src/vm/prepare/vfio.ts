import { vfio } from '../../devices/vfio.ts';
import { checkPassthrough } from '../../host/vfio.ts';
import { prepares } from './prepare.ts';

export const prepareVfio = prepares(vfio, async ({ path }) => ({
  facts: { sysfs: await checkPassthrough(path) },
}));
