import type { IncomingMessage } from 'node:http';
import type { AcceptUpgrade, Upgrades } from '../api/route.ts';

/** Path above all endpoints. */
export const BASE_PATH = '/api/v1/';

/** Returns the path of an origin-form (`/p`) or absolute-form (`http://host/p`) target, not decoded in any way. */
export function pathOf(target: string): string {
  if (!target.startsWith('http://')) return target;
  const start = target.indexOf('/', 'http://'.length);
  return start === -1 ? '' : target.slice(start);
}

/** Endpoint that makes a connection a WebSocket, and the query of the request. */
export interface UpgradeTarget {
  readonly name: string;
  readonly query: URLSearchParams;
  readonly accept: AcceptUpgrade;
}

/** Returns the endpoint of a request that makes its connection a WebSocket; undefined for any other path. */
export function upgradeTarget(
  upgrades: Upgrades,
  { url }: Pick<IncomingMessage, 'url'>,
): UpgradeTarget | undefined {
  if (upgrades.size === 0) return undefined;
  const target = pathOf(url ?? '');
  if (!target.startsWith(BASE_PATH)) return undefined;
  const [name = '', ...query] = target.slice(BASE_PATH.length).split('?');
  const accept = upgrades.get(name);
  return accept && { name, accept, query: new URLSearchParams(query.join('?')) };
}
