import { ApiError } from '../../api/errors.ts';
import { pmem } from '../../devices/pmem.ts';
import { qemuId } from '../../machine/placement.ts';
import { isMessage } from '../../qemu/qmp-stream.ts';
import type { RamBlock } from '../../qemu/ram-blocks.ts';
import type { Run } from '../run.ts';

/**
 * Looks whether all of a machine can be given to another; `fate` says what for, e.g. `be in a snapshot`.
 * Rejects with ApiError `failed` naming what cannot.
 */
export async function checkSaveable({ layout, qemu, config }: Run, fate: string): Promise<void> {
  for (const { device, config, id } of layout.placements) {
    const reason = device.unsaved?.(config);
    if (reason !== undefined) {
      throw new ApiError('failed', `${device.flag ?? device.member} ${id}: cannot ${fate}: ${reason}`);
    }
  }
  if ((config.sgx_epc ?? []).length > 0) {
    throw new ApiError('failed', `sgx_epc: cannot ${fate}: enclave memory belongs to one processor`);
  }
  const answer = await qemu.qmp.execute('query-migrate');
  const reasons: unknown = isMessage(answer) ? answer['blocked-reasons'] : undefined;
  if (Array.isArray(reasons) && reasons.length > 0) {
    throw new ApiError('failed', `The VM cannot ${fate}: ${reasons.join('; ')}`);
  }
}

/**
 * Whether a piece of memory goes into the snapshot. Persistent memory is its file, as a disk is its image, except where
 * there is none that lasts: writes that are discarded, a file without a name.
 */
export function isSaved({ layout, preparations }: Run, { planned, name }: RamBlock): boolean {
  const lasts = layout.placements.some(({ device, config, id }) => {
    if (device.member !== pmem.member || name !== `${qemuId(id)}.ram`) return false;
    const discards = config !== true && config['discard_writes'] === true;
    return !discards && !isNameless(preparations.facts().get(id));
  });
  return planned && !lasts;
}

/** The facts of a pmem device whose file is made in a folder. */
function isNameless(facts: unknown): boolean {
  return typeof facts === 'object' && facts !== null && 'isFolder' in facts && facts.isFolder === true;
}
