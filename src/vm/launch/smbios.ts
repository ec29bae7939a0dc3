import type { PlatformConfig } from '../../devices/platform/config.ts';
import { smbiosTables } from '../../devices/platform/smbios-tables.ts';
import { createMemfd, type Memfd } from '../../native/memfd.ts';

/** Files with SMBIOS structures, until QEMU has read them. */
export interface SmbiosFiles extends Disposable {
  readonly paths: readonly string[];
  /** file descriptors, by the paths in the plan */
  readonly fds: ReadonlyMap<string, number>;
}

/** Writes the SMBIOS structures of a platform into memory files, so that no user text is part of a QEMU option. */
export async function writeSmbios(platform: PlatformConfig | undefined): Promise<SmbiosFiles> {
  const files: Memfd[] = [];
  const dispose = (): void => {
    for (const file of files) file[Symbol.dispose]();
  };
  try {
    for (const table of platform === undefined ? [] : smbiosTables(platform)) {
      files.push(await createMemfd('smbios', table));
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return {
    paths: files.map(({ path }) => path),
    fds: new Map(files.map(({ path, fd }) => [path, fd])),
    [Symbol.dispose]: dispose,
  };
}
