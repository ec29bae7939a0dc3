import { closeSync } from 'node:fs';
import { deviceItems } from '../config/items.ts';
import type { AnyConfig, Device } from '../devices/device.ts';
import { createLog } from '../util/log.ts';
import type { Vm } from './vm.ts';

const log = createLog('net');

/** File descriptors received over the API socket. They stay open as long as the VM may boot with them. */
export interface ReceivedDescriptors {
  readonly add: (fds: readonly number[]) => void;
  /** Closes the file descriptors that no network of the VM uses. */
  readonly closeUnused: (vm: Vm | undefined) => void;
}

/** Returns an empty set of received descriptors. */
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

/** Returns the file descriptors of devices in the configuration, and of devices that the guest has not released. */
function inUse(vm: Vm | undefined): ReadonlySet<number> {
  const placed = vm?.booted?.machine.layout.placements ?? [];
  const configured = vm === undefined ? [] : deviceItems(vm.config);
  return new Set([...placed, ...configured].flatMap(descriptorsOf));
}

function descriptorsOf({
  device,
  config,
}: {
  readonly device: Device;
  readonly config: AnyConfig;
}): number[] {
  const member = device.hotAdd?.descriptors?.member;
  const fds = member === undefined || config === true ? undefined : config[member];
  return Array.isArray(fds) ? fds.map(Number) : [];
}

/** Returns a device's configuration with the descriptors received with the request; numbers in the body are ignored then. */
export function withDescriptors({ hotAdd }: Device, config: AnyConfig, fds: readonly number[]): AnyConfig {
  const descriptors = hotAdd?.descriptors;
  if (descriptors === undefined || fds.length === 0 || config === true) return config;
  if (config[descriptors.member] !== undefined)
    log.warn(`${hotAdd?.route}: fds in the body ignored: descriptors came with the request`);
  return descriptors.apply(config, fds);
}
