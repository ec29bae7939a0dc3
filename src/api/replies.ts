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

/** A named schema of the document that is not a struct. */
export interface NamedMap<S extends v.GenericSchema = v.GenericSchema> {
  readonly name: string;
  readonly doc: string;
  readonly schema: S;
  readonly document: DocumentFragment;
  readonly everything: DocumentFragment;
}

// always present, although the document does not require it
const unpromised = <F extends Field>(inner: F): F => documentedAs('optional', inner);

export interface VmmPingResponse extends ValueOf<typeof VmmPingResponse> {}
export const VmmPingResponse = struct({
  name: 'VmmPingResponse',
  doc: 'Version and process of the VMM',
  fields: {
    version: text('Version of the API'),
    build_version: beyond(text('Version of Nephos')),
    pid: beyond(uint('Process of the VMM', { bits: 32, format: 'int64' })),
    features: beyond(list(text('Optional features of the build'))),
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

/** An integer in the contract, a text in Cloud Hypervisor from v22 on. Each VM is answered in the dialect of its vm.create. */
const pciBdf = field({
  schema: v.union([v.number(), v.pipe(v.string(), v.regex(PCI_ADDRESS))]),
  doc: 'PCI address, e.g. `0000:00:02.0`; the slot times 8 if the VM was created with `kernel`',
  document: { type: 'integer', format: 'int32' },
  everything: { type: 'string', pattern: PCI_ADDRESS.source },
});

/** A node of the device tree. */
export interface DeviceNode extends ValueOf<typeof DeviceNode> {}
export const DeviceNode = struct({
  name: 'DeviceNode',
  doc: 'A device, or its PCI function',
  fields: {
    id: unpromised(text('Name of the node')),
    resources: unpromised(
      list(anyObject('Address ranges of the device, e.g. `{"MmioAddressRange":{"base":0,"size":0}}`')),
    ),
    parent: beyond(optional(text('Parent node'))),
    children: unpromised(list(text('Child nodes'))),
    pci_bdf: optional(pciBdf),
  },
});

/** State of a VM. */
export type VmState = 'Created' | 'Running' | 'Shutdown' | 'Paused';
const VM_STATES = ['Created', 'Running', 'Shutdown', 'Paused'] as const satisfies readonly VmState[];

export interface VmInfo extends ValueOf<typeof VmInfo> {}
export const VmInfo = struct({
  name: 'VmInfo',
  doc: 'Configuration, state and devices of the VM',
  fields: {
    config: nested(VmConfig),
    state: choice('State of the VM', VM_STATES),
    memory_actual_size: optional(size('RAM of the guest less its balloon, in `bytes`')),
    device_tree: optional(map('Nodes by name; none before the first boot', nested(DeviceNode))),
    accelerator: beyond(
      optional(
        choice('Accelerator of the vCPUs: hardware (`kvm`, `hvf`) or emulation (`tcg`); absent before boot', [
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
  map('Counters by name', uint('Count since the boot', { bits: 64, format: 'int64' })),
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

/** Use of the host by a process. */
const ProcessUse = struct({
  name: 'ProcessUse',
  doc: 'Use of the host by a process',
  fields: {
    cpu_ms: uint('CPU time of all threads, in ms', { bits: 64, format: 'int64' }),
    resident_bytes: uint('Resident memory, in `bytes`', { bits: 64, format: 'int64' }),
  },
});

export interface VmmUsage extends ValueOf<typeof VmmUsage> {}
export const VmmUsage = struct({
  name: 'VmmUsage',
  doc: 'Use of the host by the VMM and by QEMU',
  fields: {
    time_ms: uint('Time since the start of the VMM, in ms', { bits: 64, format: 'int64' }),
    vmm: nested(ProcessUse),
    qemu: optional(nested(ProcessUse)),
  },
});

const DiskCopy = struct({
  name: 'DiskCopy',
  doc: 'Copy of a disk in a snapshot',
  fields: {
    id: text('Name of the disk'),
    file: text('Name of the file in the directory of the snapshot'),
  },
});

export interface VmSnapshotResult extends ValueOf<typeof VmSnapshotResult> {}
export const VmSnapshotResult = struct({
  name: 'VmSnapshotResult',
  doc: 'A snapshot with `live`',
  fields: {
    method: choice(
      '`remap`, `twin`: the RAM was written while the VM ran on, in its QEMU or in another one; `copy`: the VM was paused while its RAM was written',
      ['remap', 'twin', 'copy'],
    ),
    reason: optional(text('The reason why the method was not `remap`')),
    pause_ms: uint('Time for which the vCPUs were stopped, in ms', { bits: 32, format: 'int64' }),
    disks: optional(list(nested(DiskCopy))),
  },
});

const messages = bounded(list(bounded(text('A message'), { maxLength: MESSAGE_MAX })), {
  minItems: 1,
  maxItems: 1 + CAUSES_MAX,
});

/** Body of an error answer: the failed step, then its causes. */
export const ErrorMessages: NamedMap<typeof messages.schema> = {
  name: 'ErrorMessages',
  doc: 'The failed step, then its causes, outermost first',
  schema: messages.schema,
  document: messages.document,
  everything: messages.everything,
};
