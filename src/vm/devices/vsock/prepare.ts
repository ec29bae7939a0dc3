import { openVsock } from '../../../backends/vsock/service.ts';
import { vsock } from '../../../devices/vsock/index.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import { prepares } from '../prepare.ts';

const log = createLog('vsock');

export const prepareVsock = prepares(vsock, async ({ cid, socket, iommu }, { id }) => {
  if (iommu) log.warn(`vsock ${id}: iommu: its back-end translates nothing, it stays outside of the vIOMMU`);
  const explain = (error: unknown): never => {
    throw new Error(`${socket}: ${reasonOf(error)}`, { cause: error });
  };
  const { frontEnd, start, handoverState, reconnect, stop } = await openVsock({ cid, socket }).catch(explain);
  return {
    facts: { frontEnd },
    start: () => start().catch(explain),
    vsock: { handoverState, reconnect: async (previous) => ({ frontEnd: await reconnect(previous) }) },
    release: stop,
  };
});
