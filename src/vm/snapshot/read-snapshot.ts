import { join, resolve } from 'node:path';
import { ApiError } from '../../api/errors.ts';
import { toApiError } from '../../api/handlers.ts';
import type { RestoreConfig } from '../../api/requests.ts';
import { ConfigError } from '../../config/errors.ts';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { checkDirectory, SNAPSHOT_FILES } from '../../snapshot-files/snapshot-folder.ts';
import { removeAbandoned } from '../../snapshot-files/remove-abandoned.ts';
import { createLog } from '../../util/log.ts';
import type { ExpectedImage } from '../devices/disk/expected-image.ts';
import { firstDifference, fixedConfigOf } from '../machine-state/editable-config.ts';
import { expectedImages } from '../machine-state/images.ts';
import { readChain, readSnapshotFiles, type ReadSnapshot } from '../../snapshot-files/read-chain.ts';
import type { ChainMember } from '../../snapshot-files/region-source.ts';
import { readEarly } from '../../snapshot-files/manifest.ts';
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
  /** SHA-256 of `state.json`, in hexadecimal */
  readonly sha256: string;
  /** the snapshot and its bases */
  readonly chain: readonly ChainMember[];
  /** images that the devices must have, by device id */
  readonly images: ReadonlyMap<string, ExpectedImage>;
}

/**
 * Reads a snapshot and checks that it is complete and that its configuration fits its state. `onConfig` gets the configuration in the
 * snapshot before that.
 * Rejects with ApiError naming the invalid file.
 */
export async function readSnapshot(
  { source_url: url, overrides }: RestoreConfig,
  onConfig: (config: VmConfig) => void = () => undefined,
): Promise<Snapshot> {
  const folder = pathOf(url, 'directory');
  try {
    await checkDirectory(folder);
    await removeAbandoned(folder);
    const path = join(folder, SNAPSHOT_FILES.config);
    const reading = readEarly(folder, SNAPSHOT_FILES.config).then((text) => {
      const found = readConfig(path, text);
      onConfig(found);
      return found;
    });
    // an error in the other files is reported first
    reading.catch(() => undefined);
    const read = await readSnapshotFiles(folder);
    const saved = await reading;
    const config = withOverrides(saved, overrides);
    const snapshotState = readState(read);
    const { description } = snapshotState;
    // the description of an older version has members that may be edited today
    const edited = firstDifference(fixedConfigOf(description.fixedConfig), fixedConfigOf(config));
    if (edited !== undefined) throw new Error(`${path}: the machine would be another: ${edited}`);
    const images = expectedImages(description, saved, overrides);
    checkDisks(folder, config, images);
    const chain = await readChain(read, snapshotState);
    return { folder, config, state: snapshotState, sha256: read.sha256, chain, images };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    // the overrides of the request; an error in the snapshot's own configuration is no ConfigError
    if (error instanceof ConfigError) throw toApiError(error);
    throw new ApiError('failed', 'The snapshot cannot be restored', { cause: error });
  }
}

/**
 * Checks that the guest does not write to the copies of disks in the snapshot: a further restore would find other contents.
 * @throws ApiError `invalid-config`
 */
function checkDisks(
  folder: string,
  { disks = [] }: VmConfig,
  images: ReadonlyMap<string, ExpectedImage>,
): void {
  const copies = new Set([...images.values()].map(({ copy }) => copy && resolve(folder, copy)));
  for (const { id, path, readonly } of disks) {
    if (readonly || path === undefined || !copies.has(resolve(path))) continue;
    const reason = `${path} is part of the snapshot: use a copy of it, or an overlay on it`;
    throw new ApiError('invalid-config', `disk ${id}: the guest would change the snapshot: ${reason}`);
  }
}

function readState({ folder, state, memoryBytes }: ReadSnapshot): SnapshotState {
  try {
    return parseSnapshotState(state, memoryBytes);
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
