import { ApiError } from '../../api/errors.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import type { Machine } from '../machine.ts';
import { realBlockers } from '../devices/states.ts';

type Saveable = Pick<Machine, 'layout' | 'config'> & {
  readonly qemu: { readonly qmp: Pick<Qmp, 'execute'> };
};

/**
 * Checks that the whole state of a machine can be saved or sent. `operation` is the end of the message, e.g. `be in a snapshot`.
 * Rejects with ApiError `failed` naming the device or setting that prevents it.
 */
export async function checkSaveable({ layout, qemu, config }: Saveable, operation: string): Promise<void> {
  for (const { device, config, id } of layout.placements) {
    const reason = device.unsaved?.(config);
    if (reason !== undefined) {
      throw new ApiError('failed', `${device.flag ?? device.member} ${id}: cannot ${operation}: ${reason}`);
    }
  }
  if ((config.sgx_epc ?? []).length > 0) {
    throw new ApiError('failed', `sgx_epc: cannot ${operation}: enclave memory belongs to one processor`);
  }
  const real = realBlockers({ layout }, await blockers(qemu.qmp));
  if (real.length > 0) throw new ApiError('failed', `The VM cannot ${operation}: ${real.join('; ')}`);
}

async function blockers(qmp: Pick<Qmp, 'execute'>): Promise<string[]> {
  return (await qmp.execute('query-migrate'))['blocked-reasons'] ?? [];
}
