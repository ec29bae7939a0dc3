import * as v from 'valibot';
import { VmConfig } from '../config/vm-config.ts';
import { MESSAGE_MAX } from '../util/clip.ts';
import { CAUSES_MAX } from './errors.ts';
import {
  beyond,
  bounded,
  documentedAs,
  field,
  optional,
  struct,
  type DocumentFragment,
  type Field,
  type ValueOf,
} from '../schema/field.ts';
import { anyObject, choice, list, map, nested, size, text, uint } from '../schema/kinds.ts';

/** A named schema of the document that is no struct. */
export interface NamedMap<S extends v.GenericSchema = v.GenericSchema> {
  readonly name: string;
  readonly doc: string;
  readonly schema: S;
  readonly document: DocumentFragment;
  readonly everything: DocumentFragment;
}

// always there, although the document does not promise it
const unpromised = <F extends Field>(inner: F): F => documentedAs('optional', inner);

export interface VmmPingResponse extends ValueOf<typeof VmmPingResponse> {}
export const VmmPingResponse = struct({
  name: 'VmmPingResponse',
  doc: 'The VMM that answers',
  fields: {
    version: text('Version of the API'),
    build_version: beyond(text('Version of Nephos')),
    pid: beyond(uint('Process of the VMM', { bits: 32, format: 'int64' })),
    features: beyond(list(text('What is built in beside the usual'))),
  },
});

export interface PciDeviceInfo extends ValueOf<typeof PciDeviceInfo> {}
export const PciDeviceInfo = struct({
  name: 'PciDeviceInfo',
  doc: 'A device that was added',
  fields: {
    id: text('Name of the device'),
    bdf: text('PCI address, e.g. 0000:00:06.0'),
  },
});

const PCI_ADDRESS = /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

/** The contract has an integer, Cloud Hypervisor from v22 on a text: each VM is answered in the dialect of its vm.create. */
const pciBdf = field({
  schema: v.union([v.number(), v.pipe(v.string(), v.regex(PCI_ADDRESS))]),
  doc: 'PCI address, e.g. `0000:00:02.0`; the slot times 8 where the VM was created with `kernel`',
  document: { type: 'integer', format: 'int32' },
  everything: { type: 'string', pattern: PCI_ADDRESS.source },
});

/** A node of the device tree. */
export interface DeviceNode extends ValueOf<typeof DeviceNode> {}
export const DeviceNode = struct({
  name: 'DeviceNode',
  doc: 'A device, or the PCI function that carries it',
  fields: {
    id: unpromised(text('Name of the node')),
    resources: unpromised(
      list(anyObject('What the device takes, e.g. `{"MmioAddressRange":{"base":0,"size":0}}`')),
    ),
    parent: beyond(optional(text('Node that carries this one'))),
    children: unpromised(list(text('Nodes that this one carries'))),
    pci_bdf: optional(pciBdf),
  },
});

/** What a VM is doing; without one there is no state. */
export type VmState = 'Created' | 'Running' | 'Shutdown' | 'Paused';
const VM_STATES = ['Created', 'Running', 'Shutdown', 'Paused'] as const satisfies readonly VmState[];

export interface VmInfo extends ValueOf<typeof VmInfo> {}
export const VmInfo = struct({
  name: 'VmInfo',
  doc: 'The VM: its configuration, what it is doing, its devices',
  fields: {
    config: nested(VmConfig),
    state: choice('What the VM is doing', VM_STATES),
    memory_actual_size: optional(size('RAM that the guest has, without its balloon, in `bytes`')),
    device_tree: optional(map('Nodes by name; none before the first boot', nested(DeviceNode))),
    accelerator: beyond(
      optional(
        choice('How the vCPUs run: by the processor (`kvm`, `hvf`) or emulated (`tcg`); none before boot', [
          'kvm',
          'hvf',
          'tcg',
        ]),
      ),
    ),
  },
});

const counters = map(
  'Counters by device, then by name',
  map('Counters by name', uint('Count since the VM was booted', { bits: 64, format: 'int64' })),
);

/** Counters by device id, then by counter, e.g. `_disk0` and `read_bytes`. */
export type VmCounters = v.InferOutput<typeof counters.schema>;
export const VmCounters: NamedMap<typeof counters.schema> = {
  name: 'VmCounters',
  doc: counters.doc,
  schema: counters.schema,
  document: counters.document,
  everything: counters.everything,
};

const messages = bounded(list(bounded(text('A message'), { maxLength: MESSAGE_MAX })), {
  minItems: 1,
  maxItems: 1 + CAUSES_MAX,
});

/** The body of an error answer: what failed, then why. */
export const ErrorMessages: NamedMap<typeof messages.schema> = {
  name: 'ErrorMessages',
  doc: 'What failed, then why, outermost first',
  schema: messages.schema,
  document: messages.document,
  everything: messages.everything,
};
