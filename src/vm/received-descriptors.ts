import { closeSync } from 'node:fs';
import type { NetConfig } from '../devices/net/config.ts';
import { createLog } from '../util/log.ts';
import type { Vm } from './vm.ts';

const log = createLog('net');

/** Descriptors that came over the API socket and stay open for as long as the VM may boot with them. */
export interface ReceivedDescriptors {
  readonly add: (fds: readonly number[]) => void;
  /** Closes those that no network of the VM has any more. */
  readonly closeUnused: (vm: Vm | undefined) => void;
}

/** Starts with none. */
export function createReceivedDescriptors(): ReceivedDescriptors {
  const open = new Set<number>();
  return {
    add: (fds) => {
      for (const fd of fds) open.add(fd);
    },
    closeUnused: (vm) => {
      if (open.size === 0) return;
      const used = inUse(vm);
      for (const fd of [...open].filter((one) => !used.has(one))) {
        open.delete(fd);
        closeSync(fd);
      }
    },
  };
}

/** A network that is leaving is no longer in the configuration and still in the machine. */
function inUse(vm: Vm | undefined): ReadonlySet<number> {
  const placements = vm?.live?.machine.layout.placements ?? [];
  const placed = placements.map(({ config }) => (config === true ? undefined : config['fd']));
  const configured = (vm?.config.net ?? []).map(({ fd }) => fd);
  return new Set([...placed, ...configured].flatMap((fds) => (Array.isArray(fds) ? fds.map(Number) : [])));
}

/** What num_queues is where a client does not say. */
const DEFAULT_QUEUES = 2;

/** A network on the TAP whose descriptors came with the request, one a pair of queues; numbers in the body then mean nothing. */
export function withDescriptors(config: NetConfig, fds: readonly number[]): NetConfig {
  if (fds.length === 0) return config;
  if (config.fd !== undefined)
    log.warn('vm.add-net: fds in the body ignored: descriptors came with the request');
  const queues = config.num_queues === DEFAULT_QUEUES ? 2 * fds.length : config.num_queues;
  return { ...config, fd: [...fds], num_queues: queues };
}
