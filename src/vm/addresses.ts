import type { VmConfig } from '../config/vm-config.ts';
import { randomMac } from '../host/net/random-mac.ts';

/** Returns the configuration with a MAC address for each network. The addresses stay the same in all boots; vm.info shows them before the first. */
export function withAddresses(config: VmConfig): VmConfig {
  const { net } = config;
  if (net === undefined || net.every(({ mac }) => mac !== undefined)) return config;
  return { ...config, net: net.map((one) => ({ ...one, mac: one.mac ?? randomMac() })) };
}
