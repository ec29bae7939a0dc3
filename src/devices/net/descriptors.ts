import type { NetConfig } from './config.ts';

/** `num_queues` of a request that gives none. */
const DEFAULT_QUEUES = 2;

/** Returns the configuration of a network with TAP descriptors received with the request: one for each pair of queues. */
export function withDescriptors(config: NetConfig, fds: readonly number[]): NetConfig {
  const queues = config.num_queues === DEFAULT_QUEUES ? 2 * fds.length : config.num_queues;
  return { ...config, fd: [...fds], num_queues: queues };
}
