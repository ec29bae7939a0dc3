import { DeviceConfig } from '../devices/vfio.ts';
import {
  documentedAs,
  optional,
  silentlyDefaulted,
  struct,
  type Field,
  type ValueOf,
} from '../schema/field.ts';
import { flag, size, text, uint } from '../schema/kinds.ts';

// the document forgets to require what the request makes no sense without
const needed = <F extends Field>(inner: F): F => documentedAs('optional', inner);

export interface VmResize extends ValueOf<typeof VmResize> {}
export const VmResize = struct({
  name: 'VmResize',
  doc: 'New sizes of the VM; what is not given stays',
  fields: {
    desired_vcpus: optional(uint('vCPUs', { bits: 8, min: 1, document: { minimum: 1 } })),
    desired_ram: optional(size('RAM in `bytes`')),
    desired_balloon: optional(size('Size of the balloon in `bytes`')),
  },
});

export interface VmResizeZone extends ValueOf<typeof VmResizeZone> {}
export const VmResizeZone = struct({
  name: 'VmResizeZone',
  doc: 'New size of a memory zone',
  fields: {
    id: needed(text('Name of the zone', '<zone_id>')),
    desired_ram: needed(size('Size of the zone in `bytes`')),
  },
});

/** DeviceConfig under the name that the document gives it here. */
export interface VmAddDevice extends ValueOf<typeof VmAddDevice> {}
export const VmAddDevice = struct({
  name: 'VmAddDevice',
  doc: 'A PCI device of the host to pass through',
  fields: { ...DeviceConfig.fields, path: needed(DeviceConfig.fields.path) },
});

export interface VmRemoveDevice extends ValueOf<typeof VmRemoveDevice> {}
export const VmRemoveDevice = struct({
  name: 'VmRemoveDevice',
  doc: 'A device to take away',
  fields: { id: needed(text('Name of the device', '<id>')) },
});

export interface VmSnapshotConfig extends ValueOf<typeof VmSnapshotConfig> {}
export const VmSnapshotConfig = struct({
  name: 'VmSnapshotConfig',
  doc: 'Where a snapshot goes',
  fields: { destination_url: needed(text('Directory that is there, as `file://<path>`', '<url>')) },
});

export interface RestoreConfig extends ValueOf<typeof RestoreConfig> {}
export const RestoreConfig = struct({
  name: 'RestoreConfig',
  doc: 'Where a snapshot comes from',
  fields: {
    source_url: text('Directory with the snapshot, as `file://<path>`', '<url>'),
    prefault: silentlyDefaulted(flag('All RAM is read before the VM runs, not when it is touched'), false),
  },
});

export interface VmReceiveMigrationData extends ValueOf<typeof VmReceiveMigrationData> {}
export const VmReceiveMigrationData = struct({
  name: 'VmReceiveMigrationData',
  doc: 'Where a VM is received',
  fields: { receiver_url: text('Socket to listen on, as `unix:<path>`', '<url>') },
});

export interface VmSendMigrationData extends ValueOf<typeof VmSendMigrationData> {}
export const VmSendMigrationData = struct({
  name: 'VmSendMigrationData',
  doc: 'Where the VM is sent',
  fields: { destination_url: text('Socket of the receiver, as `unix:<path>`', '<url>') },
});
