import type { VmConfig } from '../config/vm-config.ts';
import { randomMac } from '../host/net/random-mac.ts';

/** Gives each network a MAC address where it has none. It keeps it: through all boots, and vm.info shows it before the first. */
export function withAddresses(config: VmConfig): VmConfig {
  const { net } = config;
  if (net === undefined || net.every(({ mac }) => mac !== undefined)) return config;
  return { ...config, net: net.map((one) => ({ ...one, mac: one.mac ?? randomMac() })) };
}
