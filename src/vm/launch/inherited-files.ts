import type { VmConfig } from '../../config/vm-config.ts';
import type { HostFacts } from '../../plan/machine-plan.ts';
import { createCleanupStack } from '../../util/cleanup-stack.ts';
import type { BootFiles } from './boot-files.ts';
import { bootFileDescriptors } from './boot-file-copies.ts';
import { debuggerSocketFor } from './debugger.ts';
import { openFwCfg } from './fw-cfg.ts';
import { writeSmbios } from './smbios.ts';

/** Open files that QEMU inherits. They may be closed when QEMU runs. */
export interface InheritedFiles extends AsyncDisposable {
  readonly facts: Pick<HostFacts, 'smbios' | 'fwCfg' | 'debugger' | 'inherited'>;
}

/** Opens all files that QEMU inherits, except those of devices; the boot files are already open. */
export async function openInheritedFiles(
  config: Pick<VmConfig, 'platform' | 'payload' | 'gdb'>,
  { files: bootFiles, variables }: Pick<BootFiles, 'files' | 'variables'>,
): Promise<InheritedFiles> {
  const files = createCleanupStack();
  try {
    const debug = debuggerSocketFor(config);
    const smbios = files.use(await writeSmbios(config.platform));
    const fwCfg = files.use(await openFwCfg(config.payload));
    const boot = files.use(await bootFileDescriptors(bootFiles));
    // the image itself, never a copy: the guest writes it
    const writable: [string, number][] = variables === undefined ? [] : [[variables.path, variables.fd]];
    const inherited = new Map([...smbios.fds, ...fwCfg.fds, ...boot.fds, ...writable]);
    return {
      facts: { smbios: smbios.paths, fwCfg: fwCfg.items, debugger: debug, inherited },
      [Symbol.asyncDispose]: files[Symbol.asyncDispose],
    };
  } catch (error) {
    await files[Symbol.asyncDispose]();
    throw error;
  }
}
