import { startVsock } from '../../../backends/vsock/service.ts';
import { vsock } from '../../../devices/vsock/index.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import { prepares } from '../prepare.ts';

const log = createLog('vsock');

export const prepareVsock = prepares(vsock, async ({ cid, socket, iommu }, { id }) => {
  if (iommu) log.warn(`vsock ${id}: iommu: its back-end translates nothing, it stays outside of the vIOMMU`);
  const { frontEnd, handoverState, reconnect, stop } = await startVsock({ cid, socket }).catch(
    (error: unknown) => {
      throw new Error(`${socket}: ${reasonOf(error)}`, { cause: error });
    },
  );
  return {
    facts: { frontEnd },
    vsock: { handoverState, reconnect: async (previous) => ({ frontEnd: await reconnect(previous) }) },
    release: stop,
  };
});
