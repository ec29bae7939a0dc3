import { fstat } from 'node:fs';
import { promisify } from 'node:util';
import { ApiError } from '../../api/errors.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { findVariables, needsSystemManagement, resolveFirmware } from '../../host/kernel/find-firmware.ts';
import type { BootableKernel } from '../../host/kernel/kernel.ts';
import { newVariables, openVariablesFile, type EfiVariables } from '../../host/kernel/variables-file.ts';
import { createMemfd, type Memfd } from '../../native/memfd.ts';
import { createLog } from '../../util/log.ts';
import { failingAs } from './failing-as.ts';

/*
 * EFI variables of UEFI firmware in flash. A VM keeps them in the file `firmware_vars`, or in memory until it is deleted. QEMU writes
 * each change of the guest to them at once, so they outlive a reset, a reboot and a shutdown.
 *
 * The contents of flash are part of QEMU's state: a snapshot and a live migration contain the variables. The VM that continues gets an
 * image of the same size, which QEMU writes when the vCPUs start. States of older versions have none: that VM gets none either.
 */

const log = createLog('firmware');

/** EFI variables of a VM in memory; disposal frees them. */
export interface VariablesStore extends Disposable {
  /** undefined until the VM starts with firmware in flash, and where a file keeps the variables */
  memory: Memfd | undefined;
}

/** Makes the store of a VM. */
export function createVariablesStore(): VariablesStore {
  return {
    memory: undefined,
    [Symbol.dispose]() {
      this.memory?.[Symbol.dispose]();
      this.memory = undefined;
    },
  };
}

/** Origin of the variables of a machine. */
export interface VariablesRequest {
  readonly store: VariablesStore;
  /** size of the image in the state that the machine continues from, in `bytes`; undefined: that state has none */
  readonly saved?: { readonly bytes: number | undefined };
}

/** Replaces the name of firmware by its path on this host. Rejects with ApiError `failed` where there is none. */
export async function withFirmwarePath(config: VmConfig): Promise<VmConfig> {
  const { kernel, payload } = config;
  const member = payload?.firmware === undefined ? 'kernel' : 'firmware';
  const path = await failingAs(`${member} ${kernel.path}`, resolveFirmware(kernel.path));
  if (path === kernel.path) return config;
  log.info(`${kernel.path}: ${path}`);
  const changed = payload === undefined ? {} : { payload: { ...payload, [member]: path } };
  return { ...config, kernel: { path }, ...changed };
}

/**
 * Opens the EFI variables for a kernel file; undefined for one that has none. Rejects with ApiError `failed`, naming the file. The caller
 * closes them.
 */
export async function openVariables(
  config: VmConfig,
  kernel: BootableKernel,
  request: VariablesRequest,
): Promise<EfiVariables | undefined> {
  const file = config.payload?.firmware_vars;
  const { path } = kernel;
  if (kernel.kind !== 'rom' && kernel.kind !== 'flash') {
    if (file !== undefined)
      throw new ApiError('failed', `firmware_vars ${file}: ${path} is no firmware image`);
    return undefined;
  }
  if (await needsSystemManagement(path)) {
    const remedy = 'use OVMF_CODE_4M.fd or OVMF_CODE.fd';
    throw new ApiError(
      'failed',
      `firmware ${path}: needs System Management Mode, which a VM lacks: ${remedy}`,
    );
  }
  if (request.saved !== undefined && request.saved.bytes === undefined) return undefined;
  const variables = await openImage(path, file, request);
  if (variables !== undefined) await checkSizes(kernel, variables);
  return variables;
}

async function openImage(
  firmware: string,
  file: string | undefined,
  { store, saved }: VariablesRequest,
): Promise<EfiVariables | undefined> {
  const template = await findVariables(firmware);
  const content = await failingAs(`firmware ${firmware}`, newVariables({ template, bytes: saved?.bytes }));
  if (file !== undefined) return failingAs(`firmware_vars ${file}`, openVariablesFile(file, content));
  if (store.memory === undefined) {
    if (content === undefined) return warnAboutCode(firmware, template);
    store.memory = await createMemfd('efi-variables', content);
  }
  const { fd, path } = store.memory;
  return { path, fd, bytes: (await statDescriptor(fd)).size, [Symbol.asyncDispose]: async () => undefined };
}

const statDescriptor = promisify(fstat);

/** Largest total size of QEMU's two flash devices, in `bytes`. */
const FLASH_MAX_BYTES = 8 * 2 ** 20;

/** Checks that both images fit into flash. Closes the variables where they do not. */
async function checkSizes(kernel: BootableKernel, variables: EfiVariables): Promise<void> {
  const { size } = await statDescriptor(kernel.fd);
  if (size + variables.bytes <= FLASH_MAX_BYTES) return;
  await variables[Symbol.asyncDispose]();
  const both = `firmware ${kernel.path} and its EFI variables`;
  throw new ApiError('failed', `${both}: ${size + variables.bytes} bytes, ${FLASH_MAX_BYTES} at most`);
}

function warnAboutCode(path: string, template: string | undefined): undefined {
  const result = 'EFI variables are kept in RAM until the VM boots again';
  if (template !== undefined) log.warn(`${path}: ${template} is not used: ${result}`);
  else if (/CODE|code/.test(path)) log.warn(`${path}: has no VARS file beside it: ${result}`);
}
