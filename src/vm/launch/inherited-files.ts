import type { VmConfig } from '../../config/vm-config.ts';
import type { BootFile } from '../../host/kernel/boot-file.ts';
import type { HostFacts } from '../../plan/machine-plan.ts';
import { debuggerSocketFor } from './debugger.ts';
import { openFwCfg } from './fw-cfg.ts';
import { handBootFiles } from './passed-files.ts';
import { writeSmbios } from './smbios.ts';

/** Files that QEMU is given open when it starts. */
export interface GivenFiles extends AsyncDisposable {
  readonly facts: Pick<HostFacts, 'smbios' | 'fwCfg' | 'debugger' | 'handed'>;
}

/** Opens what QEMU is given beside `boot`, the files that the machine starts from, and hands all of it over. */
export async function openGivenFiles(
  config: Pick<VmConfig, 'platform' | 'payload' | 'gdb'>,
  boot: readonly BootFile[],
): Promise<GivenFiles> {
  const closers: (() => void | PromiseLike<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closers.toReversed()) await one();
  };
  try {
    const debug = debuggerSocketFor(config);
    const smbios = await writeSmbios(config.platform);
    closers.push(() => smbios[Symbol.dispose]());
    const fwCfg = await openFwCfg(config.payload);
    closers.push(() => fwCfg[Symbol.asyncDispose]());
    const copies = await handBootFiles(boot);
    closers.push(() => copies[Symbol.dispose]());
    const handed = new Map([...smbios.fds, ...fwCfg.fds, ...copies.fds]);
    const facts = { smbios: smbios.paths, fwCfg: fwCfg.items, debugger: debug, handed };
    return { facts, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}
