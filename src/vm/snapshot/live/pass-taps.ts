import { offloadsOf, readTapSettings } from '../../../host/net/tap-settings.ts';
import { qemuIdOf } from '../../../plan/placement.ts';
import { guestFeatures } from '../../../qemu/guest-bus/virtio-status.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import type { Machine } from '../../machine.ts';

const log = createLog('snapshot');

/** The TAPs of a machine, which the twin opens while the machine is stopped. */
export interface TapPass {
  /** Makes all queues usable for the twin. Must be called after the vCPUs have stopped, and before the twin gets its networks. */
  readonly attachQueues: () => Promise<void>;
  /** Restores the settings for the machine, which continues. Must be called after the exit of the twin. Never rejects. */
  readonly undo: () => Promise<void>;
}

/** Reads the settings of all TAPs of a running machine. Rejects with the system's error. */
export async function prepareTaps({ layout, deviceSteps, qemu }: Machine): Promise<TapPass> {
  const taps = await Promise.all(
    layout.placements.flatMap((placement) => {
      const steps = deviceSteps.get(placement.id) ?? [];
      const fds = steps.flatMap((step) => (step.kind === 'netdev' ? (step.fds ?? []) : []));
      if (fds.length === 0) return [];
      const read = async () => ({
        id: placement.id,
        settings: await readTapSettings(fds),
        offloads: offloadsOf(await guestFeatures(qemu.qmp, qemuIdOf(placement))),
      });
      return [read()];
    }),
  );
  return {
    attachQueues: async () => {
      await Promise.all(taps.map(({ settings }) => settings.attachQueues()));
    },
    undo: async () => {
      for (const { id, settings, offloads } of taps) {
        await settings.restore(offloads).catch((error: unknown) => {
          log.error(`net ${id}: the settings of its TAP could not be restored: ${reasonOf(error)}`);
        });
      }
    },
  };
}
