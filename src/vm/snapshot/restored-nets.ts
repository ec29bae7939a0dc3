import { ApiError } from '../../api/errors.ts';
import type { RestoreConfig, RestoreOverrides } from '../../api/requests.ts';

/**
 * Returns a restore request whose networks have the file descriptors received with it. `net_fds` has their number for each network. If
 * none were received, `net_fds` may name file descriptors of the VMM.
 * @throws ApiError `invalid-config` if the numbers differ
 */
export function withNetDescriptors(request: RestoreConfig, received: readonly number[]): RestoreConfig {
  const { net_fds: nets = [], overrides } = request;
  const wanted = nets.reduce((sum, { num_fds: count }) => sum + count, 0);
  if (received.length > 0 && wanted !== received.length) {
    throw wrong(`${received.length} descriptors came with the request, ${wanted} are asked for`);
  }
  if (nets.length === 0) return request;
  let at = 0;
  const own = nets.map(({ id, num_fds: count, fds: named = [] }) => {
    const fds = received.length > 0 ? received.slice(at, (at += count)) : named;
    if (fds.length !== count)
      throw wrong(`network "${id}" needs ${count} descriptors, ${fds.length} are there`);
    return { id, fds: [...fds], tap: undefined, mac: undefined, forwards: undefined };
  });
  return { ...request, overrides: withNets(overrides, own) };
}

type Nets = NonNullable<RestoreOverrides['net']>;

function withNets(overrides: RestoreOverrides | undefined, own: Nets): RestoreOverrides {
  const others = overrides?.net ?? [];
  const twice = own.find(
    ({ id }, i) =>
      own.some((one, k) => k < i && one.id === id) ||
      others.some((one) => one.id === id && (one.fds ?? one.tap) !== undefined),
  );
  if (twice !== undefined) throw wrong(`network "${twice.id}" is there twice`);
  const merged = own.map((one) => ({ ...others.find(({ id }) => id === one.id), ...one }));
  const rest = others.filter(({ id }) => !own.some((one) => one.id === id));
  return { ...NONE, ...overrides, net: [...rest, ...merged] };
}

const NONE: RestoreOverrides = {
  net: undefined,
  disks: undefined,
  vsock: undefined,
  fs: undefined,
  serial: undefined,
  console: undefined,
  platform: undefined,
  payload: undefined,
};

function wrong(reason: string): ApiError {
  return new ApiError('invalid-config', `net_fds: ${reason}`);
}
