import { join } from 'node:path';
import { ApiError } from '../../api/errors.ts';
import { toApiError } from '../../api/handlers.ts';
import type { RestoreConfig } from '../../api/requests.ts';
import { ConfigError } from '../../config/errors.ts';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { checkDirectory, SNAPSHOT_FILES } from '../../host/files/snapshot-folder.ts';
import { createLog } from '../../util/log.ts';
import type { ExpectedImage } from '../devices/disk/expected-image.ts';
import { firstDifference, fixedConfigOf } from '../machine-state/editable-config.ts';
import { expectedImages } from '../machine-state/images.ts';
import { read, readChecked } from './manifest.ts';
import { withOverrides } from './overrides.ts';
import { parseSnapshotState, type SnapshotState } from './snapshot-state.ts';
import { pathOf } from './url-path.ts';

const log = createLog('restore');

/** A complete snapshot. */
export interface Snapshot {
  readonly folder: string;
  /** the configuration of the VM that is restored: that of the snapshot with the overrides of the request */
  readonly config: VmConfig;
  readonly state: SnapshotState;
  /** images that the devices must have, by device id */
  readonly images: ReadonlyMap<string, ExpectedImage>;
}

/**
 * Reads a snapshot and checks that it is complete and that its configuration fits its state.
 * Rejects with ApiError naming the invalid file.
 */
export async function readSnapshot({ source_url: url, overrides }: RestoreConfig): Promise<Snapshot> {
  const folder = pathOf(url, 'directory');
  try {
    await checkDirectory(folder);
    const { state, memoryBytes } = await readChecked(folder);
    const path = join(folder, SNAPSHOT_FILES.config);
    const saved = readConfig(path, await read(folder, SNAPSHOT_FILES.config));
    const config = withOverrides(saved, overrides);
    const snapshotState = readState(folder, state, memoryBytes);
    const { description } = snapshotState;
    // the description of an older version has members that may be edited today
    const edited = firstDifference(fixedConfigOf(description.fixedConfig), fixedConfigOf(config));
    if (edited !== undefined) throw new Error(`${path}: the machine would be another: ${edited}`);
    return { folder, config, state: snapshotState, images: expectedImages(description, saved, overrides) };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    // the overrides of the request; an error in the snapshot's own configuration is no ConfigError
    if (error instanceof ConfigError) throw toApiError(error);
    throw new ApiError('failed', 'The snapshot cannot be restored', { cause: error });
  }
}

function readState(folder: string, text: string, memoryBytes: number): SnapshotState {
  try {
    return parseSnapshotState(text, memoryBytes);
  } catch (error) {
    throw new Error(`${join(folder, SNAPSHOT_FILES.state)}: cannot be used`, { cause: error });
  }
}

function readConfig(path: string, text: string): VmConfig {
  try {
    const { config, warnings } = decodeVmConfig(JSON.parse(text));
    for (const warning of warnings) log.warn(`${path}: ${warning}`);
    return config;
  } catch (error) {
    throw new Error(`${path}: cannot be used`, { cause: error });
  }
}
