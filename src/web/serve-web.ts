import { serve, type ServedApi } from '../http/server.ts';
import { createLog, logNotice } from '../util/log.ts';
import { createCredentials } from './credentials.ts';
import { createGate } from './gate.ts';
import { hostCheck, isLoopbackAddress, urlHost } from './hosts.ts';
import { listenForWeb, type BoundAddress, type WebAddress } from './listener.ts';
import { readPageFiles } from './page-files.ts';

const log = createLog('web');

/*
 * The page of the VMM (`--web`): a second listener for the endpoints of the API socket, for browsers.
 *
 * - `listener.ts`: TCP, a UNIX socket, or an inherited socket of either kind.
 * - `gate.ts`: decides about each request before the API sees it, and has the headers of every reply; `hosts.ts` checks names,
 *   `credentials.ts` the token and the cookie.
 * - `page-files.ts`: the files of the page. `page/` has their sources, which run in the browser.
 *
 * Invariants: no request reaches an endpoint without the token or the cookie. Descriptors are not received: that stays with the API
 * socket. Nothing of this folder is loaded without `--web`.
 */

/** Serves the page and the API for browsers until it is disposed. Rejects with a message for the user; its cause is the reason. */
export async function serveWeb(address: WebAddress, api: ServedApi): Promise<AsyncDisposable> {
  const files = await readPageFiles();
  const { bound, open } = await listenForWeb(address);
  const said = 'host' in address ? address.host : undefined;
  const credentials = createCredentials(JSON.stringify(bound));
  const gate = createGate({ isAllowedHost: hostCheck(bound, said), credentials, files });
  const server = await serve({ ...api, listen: open, gate });
  announce(bound, said, credentials.token);
  return server;
}

function announce(bound: BoundAddress, said: string | undefined, token: string): void {
  if ('path' in bound) {
    const socket = bound.path ?? 'the inherited socket';
    return logNotice('web', `page: http://localhost/?token=${token} on UNIX socket ${socket}`);
  }
  if (!isLoopbackAddress(bound.address)) {
    log.warn(
      `--web: other machines can reach ${bound.address} port ${bound.port}, and HTTP is not encrypted`,
    );
  }
  logNotice('web', `page: http://${urlHost(bound, said)}/?token=${token}`);
}
