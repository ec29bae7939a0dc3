import { imageType } from '../devices/disk/config.ts';
import { readIntegers } from '../devices/common/integer-list.ts';
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
import { choice, flag, list, mac, nested, path, size, socketPath, text, uint } from '../schema/kinds.ts';
import { readTexts } from '../schema/option-lists.ts';

// required here, although the document does not require it
const needed = <F extends Field>(inner: F): F => documentedAs('optional', inner);

export interface VmResize extends ValueOf<typeof VmResize> {}
export const VmResize = struct({
  name: 'VmResize',
  doc: 'New sizes of the VM; members that are not given stay',
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
  doc: 'Device to remove',
  fields: { id: needed(text('Name of the device', '<id>')) },
});

export interface VmSnapshotConfig extends ValueOf<typeof VmSnapshotConfig> {}
export const VmSnapshotConfig = struct({
  name: 'VmSnapshotConfig',
  doc: 'Destination of a snapshot',
  fields: {
    destination_url: needed(bounded(text('Existing directory, as `file://<path>`', '<url>'), FILE_URL)),
    durable: beyond(
      silentlyDefaulted(flag('Answer after all files are stored on the disk, not only in its cache'), false),
    ),
    snapshot_type: beyond(
      silentlyDefaulted(
        choice('All RAM, or only the pages that differ from the last snapshot of this VM', ['full', 'diff']),
        'full',
      ),
    ),
    compose: beyond(
      silentlyDefaulted(
        flag(
          'Then replace a differential snapshot by a full one; the VM may be resumed before it is complete',
        ),
        false,
      ),
    ),
    live: beyond(
      silentlyDefaulted(
        flag('The VM may be Running, and runs on; the answer is 200 with the way that the snapshot took'),
        false,
      ),
    ),
    disks: beyond(
      optional(
        choice(
          'With `live`: `copy` copies each disk that the guest can write to into the directory, as it was in the pause',
          ['copy'],
        ),
      ),
    ),
  },
});

const NetOverride = struct({
  name: 'NetOverride',
  doc: 'Changes to an interface of a restored VM',
  fields: {
    id: text('Name of the device', '<id>'),
    tap: optional(text('Name of the TAP on the host')),
    mac: optional(mac('MAC address in the guest, from its next boot on')),
    fds: optional(
      list(
        uint('TAP descriptors of the VMM’s process, one for each pair of queues', {
          bits: 31,
          format: 'int32',
        }),
      ),
    ),
    forwards: optional(list(nested(PortForward))),
  },
});

const DiskOverride = struct({
  name: 'DiskOverride',
  doc: 'Changes to a disk of a restored VM',
  fields: {
    id: text('Name of the device', '<id>'),
    path: path('Image'),
    image_type: imageType('Format of the image, if it differs from that in the snapshot'),
    backing_files: optional(flag('The image may have backing files in any folder')),
  },
});

const VsockOverride = struct({
  name: 'VsockOverride',
  doc: 'Changes to the vsock of a restored VM',
  fields: {
    socket: optional(path('UNIX socket')),
    cid: optional(uint('Address of the guest', { bits: 64 })),
  },
});

const FsOverride = struct({
  name: 'FsOverride',
  doc: 'Changes to a file system of a restored VM',
  fields: {
    id: text('Name of the device', '<id>'),
    directory: path('Directory of the host with the same files, instead of that in the snapshot'),
  },
});

const ConsoleOverride = struct({
  name: 'ConsoleOverride',
  doc: 'Destination of a console of a restored VM: a file or a UNIX socket',
  fields: {
    file: optional(path('File for its output; the mode is then File')),
    socket: optional(
      socketPath('UNIX socket that the VMM listens on, for one client at a time; the mode is then Socket'),
    ),
  },
});

const PlatformOverride = struct({
  name: 'PlatformOverride',
  doc: 'Changes to the description of a restored machine',
  fields: {
    oem_strings: optional(list(text('A text for programs in the guest, from its next boot on'))),
  },
});

const PayloadOverride = struct({
  name: 'PayloadOverride',
  doc: 'Changes to the boot source of a restored VM',
  fields: {
    firmware_vars: optional(path('File that gets the EFI variables of the snapshot, and keeps them')),
  },
});

/** Changes to the configuration of a clone. */
export interface RestoreOverrides extends ValueOf<typeof RestoreOverrides> {}
export const RestoreOverrides = struct({
  name: 'RestoreOverrides',
  doc: 'Changes to a restored VM: values that replace those of config.json',
  fields: {
    net: optional(list(nested(NetOverride))),
    disks: optional(list(nested(DiskOverride))),
    vsock: optional(nested(VsockOverride)),
    fs: optional(list(nested(FsOverride))),
    serial: optional(nested(ConsoleOverride)),
    console: optional(nested(ConsoleOverride)),
    platform: optional(nested(PlatformOverride)),
    payload: optional(nested(PayloadOverride)),
  },
});

export interface VmCoredumpData extends ValueOf<typeof VmCoredumpData> {}
export const VmCoredumpData = struct({
  name: 'VmCoredumpData',
  doc: 'Destination of a core dump',
  fields: {
    destination_url: bounded(text('New file, as `file://<path>`', '<url>'), FILE_URL),
  },
});

/** Descriptors for the TAP of a restored VM's network. */
export interface RestoredNetConfig extends ValueOf<typeof RestoredNetConfig> {}
export const RestoredNetConfig = struct({
  name: 'RestoredNetConfig',
  doc: 'Descriptors for the TAP of a restored VM’s network',
  fields: {
    id: text('Name of the device', '<id>'),
    num_fds: uint('Number of its descriptors among those sent with the request, in the order of the list', {
      bits: 31,
      format: 'int32',
    }),
    fds: optional(
      list(
        uint('Numbers in the VMM’s process, if none are sent with the request', {
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
  doc: 'Source of a restore',
  wordsIgnored: ['iommufd_fd', 'memory_restore_mode', 'vfio_fds', 'zone_updates'],
  fields: {
    source_url: bounded(text('Directory with the snapshot, as `file://<path>`', '<url>'), FILE_URL),
    prefault: silentlyDefaulted(flag('Read all RAM before the VM runs, instead of on access'), false),
    resume: beyond(silentlyDefaulted(flag('Run the VM at once; else it is Paused'), false)),
    net_fds: beyond(
      optional(list(nested(RestoredNetConfig), readNetFds, '[<id>@[<fd>,<fd>...],<id>@[<fd>...]...]')),
    ),
    overrides: unworded(beyond(optional(nested(RestoreOverrides)))),
  },
});

export interface VmReceiveMigrationData extends ValueOf<typeof VmReceiveMigrationData> {}
export const VmReceiveMigrationData = struct({
  name: 'VmReceiveMigrationData',
  doc: 'Destination of a live migration',
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
  doc: 'Source of a live migration',
  wordsIgnored: [
    ...['connections', 'downtime_ms', 'local', 'memory_mode', 'timeout_s', 'timeout_strategy', 'tls_dir'],
  ],
  fields: {
    destination_url: bounded(
      text('Socket of the destination, as `unix:<path>` or `tcp:<host>:<port>`', '<url>'),
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
