import type { PortForward } from './port-forward.ts';
import type { StepProps } from '../common/step.ts';

interface UserNetwork {
  /** address of the host in the guest's network; the guest gets an address of the same network by DHCP */
  readonly ip: string;
  readonly mask: string;
  readonly forwards: readonly PortForward[] | undefined;
}

/** Plans QEMU's NAT: the guest reaches the networks of the host, the host reaches the guest through forwards. */
export function userNetwork({ ip, mask, forwards = [] }: UserNetwork): StepProps & { readonly type: 'user' } {
  const bits = toNumber(mask);
  return {
    type: 'user',
    // all parts are checked numbers and addresses: none can be read as an option
    net: `${toAddress((toNumber(ip) & bits) >>> 0)}/${mask}`,
    host: ip,
    hostfwd: forwards.map((one) => ({
      str: `${one.protocol}:${one.host_address}:${one.host_port}-:${one.guest_port}`,
    })),
  };
}

function toNumber(address: string): number {
  return address.split('.').reduce((number, part) => ((number << 8) | Number(part)) >>> 0, 0);
}

function toAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 0xff).join('.');
}
