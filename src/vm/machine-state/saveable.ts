import { ApiError } from '../../api/errors.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import type { Machine } from '../machine.ts';
import { realBlockers } from '../devices/states.ts';

type Saveable = Pick<Machine, 'layout' | 'config'> & {
  readonly qemu: { readonly qmp: Pick<Qmp, 'execute'> };
};

/**
 * Looks whether all of a machine can be given to another; `fate` says what for, e.g. `be in a snapshot`.
 * Rejects with ApiError `failed` naming what cannot.
 */
export async function checkSaveable({ layout, qemu, config }: Saveable, fate: string): Promise<void> {
  for (const { device, config, id } of layout.placements) {
    const reason = device.unsaved?.(config);
    if (reason !== undefined) {
      throw new ApiError('failed', `${device.flag ?? device.member} ${id}: cannot ${fate}: ${reason}`);
    }
  }
  if ((config.sgx_epc ?? []).length > 0) {
    throw new ApiError('failed', `sgx_epc: cannot ${fate}: enclave memory belongs to one processor`);
  }
  const real = realBlockers({ layout }, await blockers(qemu.qmp));
  if (real.length > 0) throw new ApiError('failed', `The VM cannot ${fate}: ${real.join('; ')}`);
}

async function blockers(qmp: Pick<Qmp, 'execute'>): Promise<string[]> {
  return (await qmp.execute('query-migrate'))['blocked-reasons'] ?? [];
}
