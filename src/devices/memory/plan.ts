import type { MemoryZoneConfig } from './config.ts';
import type { ObjectStep, Step } from '../common/step.ts';

/** What holds a part of the RAM on the host. */
export type RamBacking = Pick<
  MemoryZoneConfig,
  'file' | 'shared' | 'mergeable' | 'hugepages' | 'hugepage_size' | 'host_numa_node'
> &
  Partial<Pick<MemoryZoneConfig, 'prefault' | 'reserve'>>;

/** A part of the RAM that is one object of QEMU's, and one block of memory in a snapshot. */
export interface RamRegion {
  /** of the object and of the block; ours, never a user's text */
  readonly id: string;
  /** in `bytes` */
  readonly size: number;
  /** the zones that it holds, in their order */
  readonly zones: readonly string[];
  readonly backing: RamBacking;
  /** nothing is set aside for it on the host before the guest uses it */
  readonly sparse: boolean;
}

/** Whether another process that is given the region's file sees what the guest writes. */
export function isShared({ file, shared, mergeable, hugepages }: RamBacking): boolean {
  if (file !== undefined) return shared;
  // KSM looks at private pages only
  return !mergeable || shared || hugepages;
}

/**
 * The object of a region. It is a memfd that other processes can map (vhost-user back-ends, snapshots), except where
 * the user named a file, or where pages are to be merged. A directory holds a file without a name: QEMU makes it.
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

/** RAM whose pages were to be merged, for a machine with a device that is made by another process or thread. */
export function shareRam(step: Step): Step {
  if (step.kind !== 'object' || step.props['qom-type'] !== 'memory-backend-ram') return step;
  return { kind: 'object', props: { ...step.props, 'qom-type': 'memory-backend-memfd', share: true } };
}
