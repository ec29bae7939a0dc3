import type { MemoryZoneConfig } from './config.ts';
import type { ObjectStep, Step } from '../common/step.ts';

/** Backing of a part of the RAM on the host. */
export type RamBacking = Pick<
  MemoryZoneConfig,
  'file' | 'shared' | 'mergeable' | 'hugepages' | 'hugepage_size' | 'host_numa_node'
> &
  Partial<Pick<MemoryZoneConfig, 'prefault' | 'reserve'>>;

/** A part of the RAM that is one object of QEMU's, and one block of memory in a snapshot. */
export interface RamRegion {
  /** id of the object and of the block; never a user's text */
  readonly id: string;
  /** size, in `bytes` */
  readonly size: number;
  /** the zones that it holds, in their order */
  readonly zones: readonly string[];
  readonly backing: RamBacking;
  /** the host reserves no memory for it before the guest uses it */
  readonly sparse: boolean;
}

/** Returns true if a process that maps the region's file sees writes of the guest. */
export function isShared({ file, shared, mergeable, hugepages }: RamBacking): boolean {
  if (file !== undefined) return shared;
  // KSM merges private pages only
  return !mergeable || shared || hugepages;
}

/**
 * Plans the object of a region. It is a memfd that other processes can map (vhost-user back-ends, snapshots), unless the zone has
 * a file or its pages may be merged. In a directory QEMU makes a file without a name.
 */
export function ramObject({ id, size, backing, sparse }: RamRegion): ObjectStep {
  const { file, mergeable, hugepages, hugepage_size: pageSize, host_numa_node: node } = backing;
  const share = isShared(backing);
  const common = {
    id,
    size,
    share,
    merge: mergeable,
    ...(sparse || backing.reserve === false ? { reserve: false } : {}),
    ...(backing.prefault === true && !sparse ? { prealloc: true } : {}),
    ...(node === undefined ? {} : { 'host-nodes': [node], policy: 'bind' }),
  };
  if (file !== undefined) {
    return { kind: 'object', props: { 'qom-type': 'memory-backend-file', ...common, 'mem-path': file } };
  }
  if (!share) return { kind: 'object', props: { 'qom-type': 'memory-backend-ram', ...common } };
  return {
    kind: 'object',
    props: {
      'qom-type': 'memory-backend-memfd',
      ...common,
      ...(hugepages ? { hugetlb: true } : {}),
      ...(hugepages && pageSize !== undefined ? { hugetlbsize: pageSize } : {}),
    },
  };
}

/** Returns the step with shared RAM, even if its pages may be merged: another process or thread serves a device. */
export function shareRam(step: Step): Step {
  if (step.kind !== 'object' || step.props['qom-type'] !== 'memory-backend-ram') return step;
  return { kind: 'object', props: { ...step.props, 'qom-type': 'memory-backend-memfd', share: true } };
}
