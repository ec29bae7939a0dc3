import * as v from 'valibot';
import type { BlockdevStep } from '../../../devices/common/step.ts';
import { action, query, queryWith } from '../command.ts';

const BlockNode = v.object({
  'node-name': v.optional(v.string()),
  image: v.object({
    format: v.string(),
    /** in `bytes` */
    'virtual-size': v.number(),
  }),
});

/** Number of requests between each two bounds of `block-latency-histogram-set`. */
const Histogram = v.object({ bins: v.array(v.number()) });

const BlockStats = v.object({
  rd_bytes: v.number(),
  wr_bytes: v.number(),
  rd_operations: v.number(),
  wr_operations: v.number(),
  /** total time of all requests, in `nanoseconds` */
  rd_total_time_ns: v.number(),
  wr_total_time_ns: v.number(),
  /** absent unless `block-latency-histogram-set` asked for it */
  rd_latency_histogram: v.optional(Histogram),
  wr_latency_histogram: v.optional(Histogram),
});
/** QEMU's statistics of one disk since the start of QEMU. */
export type BlockStats = v.InferOutput<typeof BlockStats>;

const BlockDeviceStats = v.object({
  /** QOM path of the guest's device; absent if the node has none */
  qdev: v.optional(v.string()),
  stats: BlockStats,
});

/** Nodes of the block layer. */
export const blockCommands = {
  'blockdev-add': action<BlockdevStep['props']>(),
  'blockdev-del': action<{ readonly 'node-name': string }>(),
  /** QEMU 10.0 and later */
  'blockdev-set-active': action<{ readonly 'node-name': string; readonly active: boolean }>(),
  /** `size` in `bytes` */
  block_resize: action<{ readonly 'node-name': string; readonly size: number }>(),
  'query-named-block-nodes': queryWith<{ readonly flat: true }, readonly v.InferOutput<typeof BlockNode>[]>(
    v.array(BlockNode),
  ),
  'query-blockstats': query(v.array(BlockDeviceStats)),
  /** `id` is a QOM path; bounds in `nanoseconds` */
  'block-latency-histogram-set': action<{
    readonly id: string;
    readonly 'boundaries-read': readonly number[];
    readonly 'boundaries-write': readonly number[];
  }>(),
};
