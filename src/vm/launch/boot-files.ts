import { ApiError } from '../../api/errors.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { bootMemory, takenMemory, zonesOf } from '../../devices/memory/zones.ts';
import { chooseAccelerator } from '../../host/system/accelerator.ts';
import type { BootFile } from '../../host/kernel/boot-file.ts';
import { prepareInitramfs } from '../../host/kernel/initramfs.ts';
import { prepareKernel, type BootableKernel } from '../../host/kernel/kernel.ts';
import { checkBacking } from '../../host/memory/ram-backing.ts';
import { checkHostMemory, checkKernelFits } from '../../host/memory/ram-fit.ts';
import { checkSgx } from '../../host/system/sgx.ts';
import type { HostFacts } from '../../plan/machine-plan.ts';
import { reasonOf } from '../../util/errno.ts';
import { noteFirmware } from './firmware-notes.ts';

/** What the machine's firmware starts from. */
export interface BootFiles extends Pick<HostFacts, 'kernel' | 'initramfs'>, AsyncDisposable {
  /** those that are open; the others come with QEMU, which finds them by their names */
  readonly files: readonly BootFile[];
}

/** Opens what the machine starts from and checks what its RAM is made of: vm.boot must do so, vm.create must not. */
export async function lookAtHost(config: VmConfig): Promise<BootFiles> {
  const accelerator = chooseAccelerator().name;
  checkAccelerator(config, accelerator);
  for (const zone of zonesOf(config.memory)) await naming(`memory zone ${zone.id}`, checkBacking(zone));
  await naming('memory', checkHostMemory(takenMemory(config.memory)));
  for (const { id } of config.sgx_epc ?? []) {
    await naming(`sgx_epc ${id}`, checkSgx(accelerator));
  }
  return openBootFiles(config);
}

/** Opens kernel and initramfs. Neither stays open where one cannot be opened, or where RAM is too small for them. */
async function openBootFiles(config: VmConfig): Promise<BootFiles> {
  const member = config.payload?.firmware === undefined ? 'kernel' : 'firmware';
  const files: BootFile[] = [];
  const dispose = async (): Promise<void> => {
    for (const file of files) await file[Symbol.asyncDispose]();
  };
  try {
    const kernel = await naming(`${member} ${config.kernel.path}`, prepareKernel(config.kernel.path));
    files.push(kernel);
    await noteFirmware(config, kernel.kind);
    const initramfs = await initramfsOf(config);
    if (initramfs !== undefined) files.push(initramfs);
    await checkSize(config, kernel, initramfs);
    return { kernel, initramfs: initramfs?.path, files, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

async function checkSize({ memory }: VmConfig, kernel: BootableKernel, initramfs?: BootFile): Promise<void> {
  const elf = kernel.kind === 'linux' || kernel.kind === 'pvh' ? kernel.fd : undefined;
  await naming('memory', checkKernelFits({ bytes: bootMemory(memory), elf, initramfs: initramfs?.fd }));
}

/** QEMU would ignore features that need the host's processor, without a message. */
function checkAccelerator({ cpus }: VmConfig, accelerator: HostFacts['accelerator']['name']): void {
  if (accelerator === 'kvm') return;
  const needsKvm = [
    ...(cpus.kvm_hyperv ? ['cpus.kvm_hyperv'] : []),
    ...(cpus.features?.amx === true ? ['cpus.features.amx'] : []),
  ];
  if (needsKvm.length === 0) return;
  throw new ApiError('failed', `${needsKvm.join(', ')}: needs KVM, the machine would run on ${accelerator}`);
}

/** A failure's reason behind the name of what it is about. */
function naming<T>(what: string, look: Promise<T>): Promise<T> {
  return look.catch((error: unknown) => {
    throw new ApiError('failed', `${what}: ${reasonOf(error)}`, { cause: error });
  });
}

async function initramfsOf({ initramfs, memory }: VmConfig): Promise<BootFile | undefined> {
  if (initramfs === undefined) return undefined;
  const prepared = prepareInitramfs(initramfs.path, { memory: bootMemory(memory) });
  return naming(`initramfs: ${initramfs.path}`, prepared);
}
