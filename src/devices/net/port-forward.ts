import { defaulted, struct, type ValueOf } from '../../schema/field.ts';
import { expected } from '../../util/nearest.ts';
import { choice, ipv4, readDecimal, uint } from '../../schema/kinds.ts';
import { readTexts } from '../../schema/option-lists.ts';

/** A port of the host that is forwarded to a port of the guest (`backend` `user`). */
export interface PortForward extends ValueOf<typeof PortForward> {}
export const PortForward = struct({
  name: 'PortForward',
  doc: 'A port of the host that is forwarded to a port of the guest',
  strict: true,
  fields: {
    protocol: defaulted(choice('Protocol', ['tcp', 'udp']), 'tcp'),
    host_address: defaulted(ipv4('Address on which the host listens'), '127.0.0.1'),
    host_port: uint('Port of the host; 0: a free one, which vm.info shows', { bits: 16 }),
    guest_port: uint('Port of the guest', { bits: 16, min: 1 }),
  },
});

/** Notations of other programs: `2222:22`, QEMU's `tcp::2222-:22`, Docker's `2222:22/tcp`. */
const OTHER_FORWARD = /^(?:(tcp|udp):)?(?:([\d.]*):)?(\d+)(?:-[\d.]*:|:|->)(\d+)(?:\/(tcp|udp))?$/;

function suggestForward(text: string): string | undefined {
  const [, before, address = '', from, to, behind] = OTHER_FORWARD.exec(text) ?? [];
  if (from === undefined || to === undefined) return undefined;
  const protocol = before ?? behind;
  return [
    ...(protocol === undefined ? [] : [protocol]),
    ...(address === '' ? [] : [address]),
    `${from}-${to}`,
  ].join(':');
}

const FORWARD = /^(?:(tcp|udp):)?(?:([\d.]+):)?(\d+)-(\d+)$/;

/** Reads `[tcp:127.0.0.1:2222-22,udp:5353-53]`, or the same items joined by `+`; protocol and address may be left out. */
export function readForwards(text: string): unknown[] {
  const items = readTexts(text).flatMap((item) => item.split('+'));
  return items.map((one) => {
    const [, protocol, host, from, to] = FORWARD.exec(one) ?? [];
    if (from === undefined || to === undefined) {
      const form = '[tcp:|udp:][<ipv4>:]<host port>-<guest port>, joined by +';
      throw new Error(expected(form, suggestForward(one)));
    }
    return {
      ...(protocol === undefined ? {} : { protocol }),
      ...(host === undefined ? {} : { host_address: host }),
      host_port: readDecimal(from, 65_535),
      guest_port: readDecimal(to, 65_535),
    };
  });
}
