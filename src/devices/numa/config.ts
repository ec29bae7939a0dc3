import {
  beyond,
  documentedAs,
  optional,
  silentlyDefaulted,
  struct,
  withoutEffect,
  type ValueOf,
} from '../../schema/field.ts';
import { list, nested, readDecimal, text, uint } from '../../schema/kinds.ts';
import { readItems } from '../../schema/option-lists.ts';
import { readIntegers } from '../common/integer-list.ts';

/** NUMA nodes: MAX_NODES of QEMU (include/system/numa.h). */
export const NUMA_NODES = { maxItems: 128 } as const;

/** Distance of a node from itself (ACPI 6.5, 5.2.17: SLIT). */
export const OWN_DISTANCE = 10;

/** Distance of another node, as in ACPI's SLIT: 10 is the node itself. */
export interface NumaDistance extends ValueOf<typeof NumaDistance> {}
export const NumaDistance = struct({
  name: 'NumaDistance',
  doc: 'Distance of another node, as in ACPI’s SLIT: 10 is the node itself',
  fields: {
    destination: zero('The other node', 32),
    distance: zero('Distance', 8),
  },
});

export interface NumaConfig extends ValueOf<typeof NumaConfig> {}
export const NumaConfig = struct({
  name: 'NumaConfig',
  doc: 'A NUMA node of the guest',
  wordsIgnored: ['device_id'],
  keyHints: { id: 'guest_numa_id', node: 'guest_numa_id', nodeid: 'guest_numa_id', zones: 'memory_zones' },
  fields: {
    guest_numa_id: zero('Number of the node', 32),
    cpus: optional(
      list(uint('vCPUs of the node', { bits: 8, format: 'int32' }), readIntegers, '[<cpu>-<cpu>,<cpu>...]'),
    ),
    distances: optional(list(nested(NumaDistance), readDistances, '[<node>@<distance>,...]')),
    memory_zones: optional(list(text('Memory zones of the node'), readItems, '[<zone_id>,...]')),
    pci_segments: beyond(
      withoutEffect(
        optional(list(uint('PCI segments of the node', { bits: 16 }), readIntegers, '[<segment>,...]')),
        (value) =>
          Array.isArray(value) && value.length > 0 ? 'guests do not see the node of a PCI device' : undefined,
      ),
    ),
    sgx_epc_sections: optional(list(text('SGX sections of the node'), readItems, '[<id>,...]')),
  },
});

/** Returns a number with default 0: the document requires it, Cloud Hypervisor does not. */
function zero(doc: string, bits: 8 | 32) {
  return documentedAs('required', silentlyDefaulted(uint(doc, { bits, format: 'int32' }), 0));
}

function readDistances(text: string): unknown[] {
  return readItems(text).map((pair) => {
    const [destination, distance, ...rest] = pair.split('@').map((one) => readDecimal(one.trim()));
    if (distance === undefined || rest.length > 0) throw new Error('expected <node>@<distance>');
    return { destination, distance };
  });
}
