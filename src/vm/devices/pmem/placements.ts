import { pmem } from '../../../devices/pmem/index.ts';
import type { Placement } from '../../../plan/placement.ts';
import type { Machine } from '../../machine.ts';

/** Returns the pmem devices of a machine. */
export function pmemsOf({ layout }: Pick<Machine, 'layout'>): Placement[] {
  return layout.placements.filter(({ device }) => device.member === pmem.member);
}
