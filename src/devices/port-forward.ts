import { defaulted, struct, type ValueOf } from '../schema/field.ts';
import { choice, ipv4, readDecimal, uint } from '../schema/kinds.ts';

/** A port of the host behind which a port of the guest is (`backend` `user`). */
export interface PortForward extends ValueOf<typeof PortForward> {}
export const PortForward = struct({
  name: 'PortForward',
  doc: 'A port of the host that leads to one of the guest',
  strict: true,
  fields: {
    protocol: defaulted(choice('Protocol', ['tcp', 'udp']), 'tcp'),
    host_address: defaulted(ipv4('Address on which the host listens'), '127.0.0.1'),
    host_port: uint('Port of the host; 0: a free one, which vm.info shows', { bits: 16 }),
    guest_port: uint('Port of the guest', { bits: 16, min: 1 }),
  },
});

const FORWARD = /^(?:(tcp|udp):)?(?:([\d.]+):)?(\d+)-(\d+)$/;

/** Reads `tcp:127.0.0.1:2222-22+udp:5353-53` as the command line takes it; protocol and address may be left out. */
export function readForwards(text: string): unknown[] {
  return text.split('+').map((one) => {
    const [, protocol, host, from, to] = FORWARD.exec(one) ?? [];
    if (from === undefined || to === undefined) {
      throw new Error('expected [tcp:|udp:][<ipv4>:]<host port>-<guest port>, joined by +');
    }
    return {
      ...(protocol === undefined ? {} : { protocol }),
      ...(host === undefined ? {} : { host_address: host }),
      host_port: readDecimal(from, 65_535),
      guest_port: readDecimal(to, 65_535),
    };
  });
}
