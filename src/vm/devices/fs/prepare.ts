import { fs } from '../../../devices/fs/index.ts';
import { createLog } from '../../../util/log.ts';
import { relayBackEnd } from '../vhost-user-back-end.ts';
import { prepares } from '../prepare.ts';

const log = createLog('fs');

export const prepareFs = prepares(fs, async ({ socket, dax }, { id, signal }) => {
  if (dax) log.info(`fs ${id}: dax: the guest mounts it without a window to map files in`);
  // QEMU's device supports one connection only
  return relayBackEnd(socket, { part: 'fs', id, signal, once: true });
});
