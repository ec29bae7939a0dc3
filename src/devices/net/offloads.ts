import { beyond, optional } from '../../schema/field.ts';
import { flag } from '../../schema/kinds.ts';
import type { Properties } from '../common/machine-plan.ts';

/** Work on packets that a guest may leave to the host, which leaves it to the hardware or omits it. */
export const offloads = {
  offload_tso: beyond(optional(flag('The host splits TCP packets (segmentation offload); default: on'))),
  offload_ufo: beyond(optional(flag('The host splits UDP packets (segmentation offload); default: on'))),
  offload_csum: beyond(
    optional(flag('The host computes checksums; off switches segmentation offload off too; default: on')),
  ),
};

interface Offloads {
  readonly offload_tso?: boolean | undefined;
  readonly offload_ufo?: boolean | undefined;
  readonly offload_csum?: boolean | undefined;
}

/** QEMU's properties: `host_*` and `csum` for packets that the guest sends, `guest_*` for packets that it receives. */
const TSO = ['host_tso4', 'host_tso6', 'host_ecn', 'guest_tso4', 'guest_tso6', 'guest_ecn'];
const UFO = ['host_ufo', 'host_uso', 'guest_ufo', 'guest_uso4', 'guest_uso6'];
const CSUM = ['csum', 'guest_csum', 'ctrl_guest_offloads'];

/** Returns the properties of virtio-net that are off. Segmentation is off without checksums: a split packet needs new ones. */
export function offloadProps({
  offload_tso: tso,
  offload_ufo: ufo,
  offload_csum: csum,
}: Offloads): Properties {
  const off = [
    ...(tso === false || csum === false ? TSO : []),
    ...(ufo === false || csum === false ? UFO : []),
    ...(csum === false ? CSUM : []),
  ];
  return Object.fromEntries(off.map((name) => [name, false]));
}
