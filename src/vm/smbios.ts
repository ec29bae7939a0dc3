import { writeFile } from 'node:fs/promises';
import { smbiosTables, type PlatformConfig } from '../devices/platform.ts';
import { createMemfd, type Memfd } from '../host/memfd.ts';

/** Files with SMBIOS structures, until QEMU has read them at its start. */
export interface SmbiosFiles extends Disposable {
  readonly paths: readonly string[];
}

/** Writes what a platform says: as files, because QEMU's options would join a user's texts with commas. */
export async function writeSmbios(platform: PlatformConfig | undefined): Promise<SmbiosFiles> {
  const files: Memfd[] = [];
  for (const table of platform === undefined ? [] : smbiosTables(platform)) {
    const file = await createMemfd('smbios');
    files.push(file);
    await writeFile(file.path, table);
  }
  return {
    paths: files.map(({ path }) => path),
    [Symbol.dispose]: () => {
      for (const file of files) file[Symbol.dispose]();
    },
  };
}
