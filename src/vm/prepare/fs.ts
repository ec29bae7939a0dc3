import { fs } from '../../devices/fs.ts';
import { waitForListener } from '../../host/wait-socket.ts';
import { createLog } from '../../util/log.ts';
import { tellWaiting } from '../../util/waiting.ts';
import { prepares } from './prepare.ts';

const log = createLog('fs');

export const prepareFs = prepares(fs, async ({ socket, dax }, { id, signal }) => {
  if (dax) log.info(`fs ${id}: dax: the guest mounts it without a window to map files in`);
  await waitForListener(socket, { signal, onWait: (text) => tellWaiting('fs', `fs ${id}: ${text}`) });
  return { facts: undefined };
});
