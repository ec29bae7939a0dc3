import type { PlanContext } from './device.ts';

/** What every virtio device on the bus has: its id, its slot, and the modern interface alone (virtio 1.0). */
export function onBus(at: PlanContext): { id: string; addr?: string; 'disable-legacy': string } {
  return {
    id: at.qemuId,
    ...(at.addr === undefined ? {} : { addr: at.addr }),
    'disable-legacy': 'on',
  };
}
