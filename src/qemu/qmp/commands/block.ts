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

const Job = v.object({
  id: v.string(),
  /** amounts of no fixed unit; of a copy they are `bytes` */
  'current-progress': v.number(),
  'total-progress': v.number(),
  /** reason of a failure */
  error: v.optional(v.string()),
});

/** Nodes and jobs of the block layer. */
export const blockCommands = {
  'blockdev-add': action<BlockdevStep['props']>(),
  /** Gives existing nodes other properties; those that are not given get their defaults. */
  'blockdev-reopen': action<{ readonly options: readonly BlockdevStep['props'][] }>(),
  /** Starts a job that writes the metadata of an empty image into the nodes of its files. It is dismissed by `job-dismiss`. */
  'blockdev-create': action<{
    readonly 'job-id': string;
    readonly options: {
      readonly driver: 'qcow2';
      readonly file: string;
      readonly 'data-file'?: string;
      /** in `bytes` */
      readonly size: number;
    };
  }>(),
  /** Starts a job that copies a whole node into another one of the same size. */
  'blockdev-backup': action<{
    readonly 'job-id': string;
    readonly device: string;
    readonly target: string;
    readonly sync: 'full';
    readonly 'auto-dismiss': false;
  }>(),
  'query-jobs': query(v.array(Job)),
  'job-cancel': action<{ readonly id: string }>(),
  'job-dismiss': action<{ readonly id: string }>(),
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
