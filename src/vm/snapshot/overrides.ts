import { ApiError } from '../../api/errors.ts';
import type { RestoreOverrides } from '../../api/requests.ts';
import { validateVmConfig } from '../../config/decode-vm-config.ts';
import { type VmConfig } from '../../config/vm-config.ts';
import type { FsConfig } from '../../devices/fs/config.ts';
import { FILE_MISSING, SOCKET_MISSING, type ConsoleConfig } from '../../devices/console/config.ts';

/**
 * Returns a snapshot's configuration with the overrides of a restore request.
 * @throws ApiError `unknown-device` if the VM has no such device
 */
export function withOverrides(config: VmConfig, overrides: RestoreOverrides | undefined): VmConfig {
  if (overrides === undefined) return config;
  const { net, disks, vsock, fs, serial, console, platform, payload } = overrides;
  const changed: VmConfig = {
    ...config,
    disks: withItems(
      config.disks,
      disks,
      'disks',
      (disk, { path, image_type: type, backing_files: any }) => ({
        ...disk,
        path,
        image_type: type ?? disk.image_type,
        backing_files: any ?? disk.backing_files,
      }),
    ),
    net: withItems(config.net, net, 'net', (one, { tap, mac, fds, forwards }) => ({
      ...one,
      // a TAP by its name or by file descriptors, never both
      tap: fds === undefined ? (tap ?? one.tap) : undefined,
      fd: fds ?? (tap === undefined ? one.fd : undefined),
      mac: mac ?? one.mac,
      forwards: forwards ?? one.forwards,
    })),
    vsock: withVsock(config, vsock),
    fs: withItems(config.fs, fs, 'fs', withDirectory),
    serial: withConsole(config.serial, serial, 'serial'),
    console: withConsole(config.console, console, 'console'),
    platform: withStrings(config, platform),
    payload: withVariables(config, payload),
  };
  validateVmConfig(changed);
  return changed;
}

function withItems<T extends { readonly id: string | undefined }, O extends { readonly id: string }>(
  items: readonly T[] | undefined,
  overrides: readonly O[] | undefined,
  member: string,
  apply: (item: T, override: O) => T,
): T[] | undefined {
  const unknown = overrides?.find((override) => items?.some(({ id }) => id === override.id) !== true);
  if (unknown !== undefined) throw noDevice(`overrides.${member}`, unknown.id);
  const ids = new Set<string>();
  for (const { id } of overrides ?? []) {
    if (ids.has(id)) throw new ApiError('invalid-config', `overrides.${member}: "${id}" is there twice`);
    ids.add(id);
  }
  return items?.map((item) => {
    const override = overrides?.find(({ id }) => id === item.id);
    return override === undefined ? item : apply(item, override);
  });
}

/** @throws ApiError if a daemon serves the file system */
function withDirectory(fs: FsConfig, { id, directory }: { id: string; directory: string }): FsConfig {
  if (fs.directory !== undefined) return { ...fs, directory };
  throw new ApiError('invalid-config', `overrides.fs: "${id}" has no directory: a daemon serves it`);
}

function withVsock({ vsock }: VmConfig, override: RestoreOverrides['vsock']): VmConfig['vsock'] {
  if (override === undefined) return vsock;
  if (vsock === undefined) throw noDevice('overrides.vsock', 'vsock');
  return { ...vsock, socket: override.socket ?? vsock.socket, cid: override.cid ?? vsock.cid };
}

/** Returns the description of the machine with other OEM strings. A machine without a description keeps none where none are given. */
function withStrings({ platform }: VmConfig, override: RestoreOverrides['platform']): VmConfig['platform'] {
  if (override?.oem_strings === undefined) return platform;
  if (platform === undefined) throw noDevice('overrides.platform', 'platform');
  return { ...platform, oem_strings: override.oem_strings };
}

/** Returns the boot source with another file for its EFI variables. @throws ApiError for a kernel */
function withVariables({ payload }: VmConfig, override: RestoreOverrides['payload']): VmConfig['payload'] {
  if (override?.firmware_vars === undefined) return payload;
  if (payload?.firmware === undefined) throw noDevice('overrides.payload', 'firmware');
  return { ...payload, firmware_vars: override.firmware_vars };
}

/** Returns a console with another destination. @throws ApiError if the guest does not have the console */
function withConsole(
  config: ConsoleConfig,
  override: RestoreOverrides['serial'],
  member: 'serial' | 'console',
): ConsoleConfig {
  if (override === undefined) return config;
  const place = `overrides.${member}`;
  if (config.mode === 'Off') throw noDevice(place, member);
  const { file, socket } = override;
  if ((file === undefined) === (socket === undefined)) {
    throw new ApiError('invalid-config', `${place}: expected either file or socket`);
  }
  if (file === '') throw new ApiError('invalid-config', `${place}.file: ${FILE_MISSING}`);
  if (socket === '') throw new ApiError('invalid-config', `${place}.socket: ${SOCKET_MISSING}`);
  return { ...config, mode: file === undefined ? 'Socket' : 'File', file, socket };
}

function noDevice(place: string, id: string): ApiError {
  return new ApiError('unknown-device', `${place}: the snapshot has no device "${id}"`);
}
