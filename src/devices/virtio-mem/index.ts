import { defineDevice } from '../device.ts';
import { growingZones } from '../memory/zones.ts';
import { memory } from '../memory/index.ts';
import { MemoryZoneConfig } from '../memory/config.ts';
import { planVirtioMem } from './plan.ts';

/** The device by which a zone with `hotplug_size` grows and shrinks; QEMU's property `requested-size` sets its size. */
export const virtioMem = defineDevice({
  member: 'memory',
  field: memory.field,
  struct: MemoryZoneConfig,
  many: false,
  order: { slot: 170 },
  flag: undefined,
  ids: { prefix: '_mem' },
  takesSlot: true,
  removable: false,
  derive: growingZones,
  plan: planVirtioMem,
});
