import { setFlagsFromString } from 'node:v8';
import { errorChain } from '../api/errors.ts';
import { endpointsOf } from '../api/handlers.ts';
import { observed, type OnRequest } from '../api/observed.ts';
import type { ListenAddress } from '../http/listener.ts';
import type { ServedApi } from '../http/server.ts';
import type { Journal } from '../vm/observe/journal.ts';
import { dialectOfVm } from '../vm/vm.ts';
import type { Vmm } from '../vm/vmm.ts';
import { createCleanupStack } from '../util/cleanup-stack.ts';
import type { WebAddress } from '../web/listener.ts';
import { ExitError } from './exit-error.ts';

/** Addresses at which a VMM serves its API: a UNIX socket, and the page for browsers. */
interface Addresses {
  readonly apiSocket: ListenAddress | undefined;
  readonly web: WebAddress | undefined;
}

interface ServedVmm {
  readonly vmm: Vmm;
  readonly journal: Journal;
  readonly onRequest: OnRequest | undefined;
}

/** Serves the API at the given addresses until it is disposed. Rejects where one cannot be served, and serves none then. */
export async function serveVmm(served: ServedVmm, { apiSocket, web }: Addresses): Promise<AsyncDisposable> {
  if (apiSocket === undefined && web === undefined) return { [Symbol.asyncDispose]: async () => undefined };
  // objects of a request are garbage once it is answered: a young generation that grows under load only uses memory, and
  // a small one is collected before further threads have started
  setFlagsFromString('--semi-space-growth-factor=1 --no-parallel-scavenge');
  const api = await apiOf(served);
  const opened = createCleanupStack();
  try {
    if (apiSocket !== undefined) opened.use(await serveApi(apiSocket, api));
    if (web !== undefined) opened.use(await servePage(web, api));
    return opened;
  } catch (error) {
    await opened[Symbol.asyncDispose]();
    throw error;
  }
}

async function apiOf({ vmm, journal, onRequest }: ServedVmm): Promise<ServedApi> {
  const { documentEndpoints } = await import('../api/openapi.ts');
  const { STREAM_ROUTES } = await import('../api/stream-routes.ts');
  const { eventStream } = await import('../vm/observe/event-stream.ts');
  const all = new Map([
    ...endpointsOf(
      vmm.handlers,
      () => vmm.phaseNow,
      () => dialectOfVm(vmm.vm),
      vmm.startOperation,
    ),
    ...documentEndpoints(),
  ]);
  const streams = new Map([
    ['vmm.events', { route: STREAM_ROUTES['vmm.events'], handle: eventStream(journal) }],
  ]);
  return {
    endpoints: onRequest === undefined ? all : observed(all, onRequest),
    streams,
    upgrades: vmm.upgrades,
  };
}

async function serveApi(listen: ListenAddress, api: ServedApi): Promise<AsyncDisposable> {
  // node:http is loaded only for an API socket: it costs a boot from the command line several milliseconds
  const { serve } = await import('../http/server.ts');
  return serve({ ...api, listen }).catch((error: unknown) => {
    throw new ExitError(`Failed to start the VMM thread: ${errorChain(error).join(': ')}`, { cause: error });
  });
}

/** Serves the page. Its code and files are loaded with `--web` only. */
async function servePage(address: WebAddress, api: ServedApi): Promise<AsyncDisposable> {
  const { serveWeb } = await import('../web/serve-web.ts');
  return serveWeb(address, api).catch((error: unknown) => {
    throw new ExitError(`Failed to serve --web: ${errorChain(error).join(': ')}`, { cause: error });
  });
}
