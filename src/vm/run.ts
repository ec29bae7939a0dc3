import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { ApiError } from '../api/errors.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { ImageFacts } from '../devices/device.ts';
import { chooseAccelerator } from '../host/accelerator.ts';
import { inspectDiskImage } from '../host/disk-image.ts';
import { prepareInitramfs } from '../host/initramfs.ts';
import { prepareKernel } from '../host/kernel.ts';
import { placeDevices, qemuId, withIds, type Placement } from '../machine/placement.ts';
import { planMachine, type HostFacts } from '../machine/plan.ts';
import { startQemu, type Qemu } from '../qemu/process.ts';
import { QemuStartError } from '../qemu/start-error.ts';
import { reasonOf } from '../util/errno.ts';
import type { Consoles } from './consoles.ts';

/** One life of a VM's machine, from boot or reboot to its end. */
export interface Run {
  /** the configuration with ids and PTYs filled in, as vm.info shows it */
  readonly config: VmConfig;
  readonly placements: readonly Placement[];
  readonly qemu: Qemu;
}

/**
 * Starts a machine for a configuration; its vCPUs run when this returns.
 * Rejects with ApiError `failed`, naming device and path, and leaves nothing behind.
 */
export async function startRun(config: VmConfig, consoles: Consoles): Promise<Run> {
  const placements = placeDevices(config);
  const plan = planMachine(config, placements, await lookAtHost(config, placements));
  const qemu = await startQemu({ plan, onEvent: () => undefined }).catch((error: unknown) => {
    throw asApiError(error, placements);
  });
  try {
    consoles.attach(qemu.channels);
    await qemu.qmp.execute('cont');
  } catch (error) {
    await qemu.quit();
    throw new ApiError('failed', 'The vCPUs could not be started', { cause: error });
  }
  return { config: consoles.complete(withIds(config, placements)), placements, qemu };
}

/** What vm.create must not look at and vm.boot must: files, devices and what they are. */
async function lookAtHost(config: VmConfig, placements: readonly Placement[]): Promise<HostFacts> {
  const kernel = await prepareKernel(config.kernel.path).catch((error: unknown) => {
    throw failure(`kernel ${config.kernel.path}: ${reasonOf(error)}`);
  });
  const initramfs = await initramfsOf(config);
  await readable('rng _rng', config.rng.src);
  return { accelerator: chooseAccelerator(), kernel, initramfs, images: await imagesOf(config, placements) };
}

async function initramfsOf({ initramfs, memory }: VmConfig): Promise<string | undefined> {
  if (initramfs === undefined) return undefined;
  return prepareInitramfs(initramfs.path, { memory: memory.size }).catch((error: unknown) => {
    throw failure(`initramfs: ${initramfs.path}: ${reasonOf(error)}`);
  });
}

async function imagesOf(config: VmConfig, placements: readonly Placement[]): Promise<HostFacts['images']> {
  const images = new Map<string, ImageFacts>();
  for (const disk of config.disks ?? []) {
    const id = placements.find((placement) => placement.config === disk)?.id ?? '';
    if (disk.path === undefined) throw failure(`disk ${id}: has no path`);
    const image = await inspectDiskImage(disk.path, disk.readonly).catch((error: unknown) => {
      throw failure(`disk ${id}: ${reasonOf(error)}`);
    });
    if (image.format !== 'raw') {
      throw new ApiError(
        'not-supported',
        `disk ${id}: ${disk.path}: ${image.format} images are not supported yet`,
      );
    }
    images.set(id, image);
  }
  return images;
}

async function readable(what: string, path: string): Promise<void> {
  try {
    await access(path, constants.R_OK);
    if ((await stat(path)).isDirectory()) throw new Error('is a directory');
  } catch (error) {
    throw failure(`${what}: ${path}: ${reasonOf(error)}`);
  }
}

function failure(message: string): ApiError {
  return new ApiError('failed', message);
}

/** QEMU's words about a part become words about the device that the client knows. */
function asApiError(error: unknown, placements: readonly Placement[]): ApiError {
  if (!(error instanceof QemuStartError))
    return new ApiError('failed', 'QEMU could not be started', { cause: error });
  const { part, message } = error;
  const placement = placements.find(({ id }) => part === qemuId(id) || part?.startsWith(`${qemuId(id)}.`));
  const what =
    placement === undefined ? part : `${placement.device.flag ?? placement.device.member} ${placement.id}`;
  return failure(what === undefined ? `QEMU could not be started: ${message}` : `${what}: ${message}`);
}
