import { imageType } from '../devices/disk/config.ts';
import { readIntegers } from '../devices/common/integers.ts';
import { PortForward } from '../devices/net/port-forward.ts';
import { FILE_URL, SOCKET_URL } from './url-patterns.ts';
import {
  beyond,
  bounded,
  documentedAs,
  optional,
  silentlyDefaulted,
  struct,
  unworded,
  type Field,
  type ValueOf,
} from '../schema/field.ts';
import { flag, list, mac, nested, path, size, text, uint } from '../schema/kinds.ts';
import { readTexts } from '../schema/lists.ts';

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

export interface VmResizeDisk extends ValueOf<typeof VmResizeDisk> {}
export const VmResizeDisk = struct({
  name: 'VmResizeDisk',
  doc: 'New size of a disk',
  fields: {
    id: text('Name of the disk', '<id>'),
    desired_size: size('Size of the disk in `bytes`; a multiple of 512'),
  },
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
  fields: {
    destination_url: needed(bounded(text('Directory that is there, as `file://<path>`', '<url>'), FILE_URL)),
    durable: beyond(
      silentlyDefaulted(flag('The answer comes when all is on the disk, not in its cache'), false),
    ),
  },
});

const NetOverride = struct({
  name: 'NetOverride',
  doc: 'What an interface of a restored VM has of its own',
  fields: {
    id: text('Name of the device', '<id>'),
    tap: optional(text('Name of the TAP on the host')),
    mac: optional(mac('MAC address in the guest, from its next boot on')),
    fds: optional(
      list(uint('TAP descriptors of the VMM’s process, one a pair of queues', { bits: 31, format: 'int32' })),
    ),
    forwards: optional(list(nested(PortForward))),
  },
});

const DiskOverride = struct({
  name: 'DiskOverride',
  doc: 'What a disk of a restored VM has of its own',
  fields: {
    id: text('Name of the device', '<id>'),
    path: path('Image'),
    image_type: imageType('Format of the image, where it is not the saved one’s'),
    backing_files: optional(flag('The image may have backing files in any folder')),
  },
});

const VsockOverride = struct({
  name: 'VsockOverride',
  doc: 'What the vsock of a restored VM has of its own',
  fields: {
    socket: optional(path('UNIX socket')),
    cid: optional(uint('Address of the guest', { bits: 64 })),
  },
});

const ConsoleOverride = struct({
  name: 'ConsoleOverride',
  doc: 'What a console of a restored VM has of its own',
  fields: { file: path('File that its output goes to') },
});

/** What makes one clone differ from another. */
export interface RestoreOverrides extends ValueOf<typeof RestoreOverrides> {}
export const RestoreOverrides = struct({
  name: 'RestoreOverrides',
  doc: 'What a restored VM has of its own: takes the place of what config.json says',
  fields: {
    net: optional(list(nested(NetOverride))),
    disks: optional(list(nested(DiskOverride))),
    vsock: optional(nested(VsockOverride)),
    serial: optional(nested(ConsoleOverride)),
    console: optional(nested(ConsoleOverride)),
  },
});

export interface VmCoredumpData extends ValueOf<typeof VmCoredumpData> {}
export const VmCoredumpData = struct({
  name: 'VmCoredumpData',
  doc: 'Where the guest’s memory goes',
  fields: {
    destination_url: bounded(text('File that is not there yet, as `file://<path>`', '<url>'), FILE_URL),
  },
});

/** A network of a restored VM whose TAP comes as descriptors. */
export interface RestoredNetConfig extends ValueOf<typeof RestoredNetConfig> {}
export const RestoredNetConfig = struct({
  name: 'RestoredNetConfig',
  doc: 'A network of a restored VM whose TAP comes as descriptors',
  fields: {
    id: text('Name of the device', '<id>'),
    num_fds: uint(
      'How many of the descriptors that come with the request are its own, in the order of the list',
      {
        bits: 31,
        format: 'int32',
      },
    ),
    fds: optional(
      list(
        uint('Their numbers in the VMM’s process, where none come with the request', {
          bits: 31,
          format: 'int32',
        }),
      ),
    ),
  },
});

export interface RestoreConfig extends ValueOf<typeof RestoreConfig> {}
export const RestoreConfig = struct({
  name: 'RestoreConfig',
  doc: 'Where a snapshot comes from',
  wordsIgnored: ['iommufd_fd', 'memory_restore_mode', 'vfio_fds', 'zone_updates'],
  fields: {
    source_url: bounded(text('Directory with the snapshot, as `file://<path>`', '<url>'), FILE_URL),
    prefault: silentlyDefaulted(flag('All RAM is read before the VM runs, not when it is touched'), false),
    resume: beyond(silentlyDefaulted(flag('The VM runs at once; else it is Paused'), false)),
    net_fds: beyond(
      optional(list(nested(RestoredNetConfig), readNetFds, '[<id>@[<fd>,<fd>...],<id>@[<fd>...]...]')),
    ),
    overrides: unworded(beyond(optional(nested(RestoreOverrides)))),
  },
});

export interface VmReceiveMigrationData extends ValueOf<typeof VmReceiveMigrationData> {}
export const VmReceiveMigrationData = struct({
  name: 'VmReceiveMigrationData',
  doc: 'Where a VM is received',
  wordsIgnored: ['memory_mode', 'tls_dir'],
  fields: {
    receiver_url: bounded(
      text('Socket to listen on, as `unix:<path>` or `tcp:<host>:<port>`', '<url>'),
      SOCKET_URL,
    ),
  },
});

export interface VmSendMigrationData extends ValueOf<typeof VmSendMigrationData> {}
export const VmSendMigrationData = struct({
  name: 'VmSendMigrationData',
  doc: 'Where the VM is sent',
  wordsIgnored: [
    ...['connections', 'downtime_ms', 'local', 'memory_mode', 'timeout_s', 'timeout_strategy', 'tls_dir'],
  ],
  fields: {
    destination_url: bounded(
      text('Socket of the receiver, as `unix:<path>` or `tcp:<host>:<port>`', '<url>'),
      SOCKET_URL,
    ),
  },
});

/** `[net1@[23,24],net2@[25]]` */
function readNetFds(text: string): unknown[] {
  return readTexts(text).map((item) => {
    const at = item.lastIndexOf('@');
    const fds = readIntegers(item.slice(at + 1));
    if (at < 1 || fds.length === 0) throw new Error('expected <id>@[<fd>,...]');
    return { id: item.slice(0, at), num_fds: fds.length, fds };
  });
}
