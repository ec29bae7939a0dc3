import type { VmConfig } from '../../config/vm-config.ts';
import { bootMemory } from '../../devices/memory/zones.ts';
import type { BootFile } from '../../host/kernel/boot-file.ts';
import { prepareInitramfs } from '../../host/kernel/initramfs.ts';
import { prepareKernel, type BootableKernel } from '../../host/kernel/kernel.ts';
import type { EfiVariables } from '../../host/kernel/variables-file.ts';
import { checkKernelFits } from '../../host/memory/ram-fit.ts';
import type { HostFacts } from '../../plan/machine-plan.ts';
import { createCleanupStack } from '../../util/cleanup-stack.ts';
import { openVariables, type VariablesRequest } from './efi-variables.ts';
import { failingAs } from './failing-as.ts';
import { warnAboutFirmware } from './firmware-warnings.ts';

/** Kernel or firmware, and initramfs of a machine. */
export interface BootFiles extends Pick<HostFacts, 'kernel' | 'initramfs'>, AsyncDisposable {
  /** image of EFI variables of firmware in flash */
  readonly variables: EfiVariables | undefined;
  /** open files; QEMU finds the files of its own firmware by their names */
  readonly files: readonly BootFile[];
}

/**
 * Opens kernel and initramfs of a configuration. Rejects with ApiError `failed`, and leaves no file open, if one cannot be
 * opened or the RAM is too small for them.
 */
export async function openBootFiles(config: VmConfig, request: VariablesRequest): Promise<BootFiles> {
  const member = config.payload?.firmware === undefined ? 'kernel' : 'firmware';
  const files = createCleanupStack();
  try {
    const kernel = files.use(
      await failingAs(`${member} ${config.kernel.path}`, prepareKernel(config.kernel.path)),
    );
    const variables = await openVariables(config, kernel, request);
    if (variables !== undefined) files.use(variables);
    warnAboutFirmware(config, kernel.kind);
    const initramfs = await openInitramfs(config);
    if (initramfs !== undefined) files.use(initramfs);
    await checkSize(config, kernel, initramfs);
    return {
      kernel,
      variables,
      initramfs: initramfs?.path,
      files: initramfs === undefined ? [kernel] : [kernel, initramfs],
      [Symbol.asyncDispose]: files[Symbol.asyncDispose],
    };
  } catch (error) {
    await files[Symbol.asyncDispose]();
    throw error;
  }
}

/** Returns the boot files of a machine that needs QEMU's firmware only: the guest has read the others. */
export function firmwareOnly(firmware: 'qboot.rom' | 'bios-256k.bin'): BootFiles {
  return {
    kernel: { kind: 'none', firmware },
    variables: undefined,
    initramfs: undefined,
    files: [],
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function checkSize({ memory }: VmConfig, kernel: BootableKernel, initramfs?: BootFile): Promise<void> {
  const elf = kernel.kind === 'linux' || kernel.kind === 'pvh' ? kernel.fd : undefined;
  await failingAs('memory', checkKernelFits({ bytes: bootMemory(memory), elf, initramfs: initramfs?.fd }));
}

async function openInitramfs({ initramfs, memory }: VmConfig): Promise<BootFile | undefined> {
  if (initramfs === undefined) return undefined;
  const opening = prepareInitramfs(initramfs.path, { memory: bootMemory(memory) });
  return failingAs(`initramfs: ${initramfs.path}`, opening);
}
