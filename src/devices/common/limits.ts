import { PAGE_BYTES } from '../../util/page.ts';

/*
 * Bounds that several kinds of devices share; a bound of one kind is in its config.ts. The OpenAPI document of view `everything` states
 * the bounds. Rules enforce them, with the texts of Cloud Hypervisor if it has the rule.
 */

/** A name or a path that is required. */
export const NOT_EMPTY = { minLength: 1 } as const;

/** Queues of a disk or a file system. */
export const QUEUES = { minimum: 1 } as const;

/** Descriptors of a queue of a disk or a file system, a power of two: QEMU's bounds (hw/block/virtio-blk.c: VIRTQUEUE_MAX_SIZE). */
export const QUEUE_SIZE = { minimum: 4, maximum: 1024 } as const;

/** Size of RAM, which is mapped in pages, in `bytes`. */
export const RAM_SIZE = { multipleOf: PAGE_BYTES } as const;
