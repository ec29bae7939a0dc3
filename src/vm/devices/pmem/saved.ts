import * as v from 'valibot';
import { whole } from '../../../schema/saved-values.ts';
import { Areas, Byte, Features, Places, QUEUE_SIZE_MAX, Word } from '../../machine-state/device-values.ts';

/** Queue of a virtio-pmem device. */
const SavedQueue = v.object({
  size: v.pipe(whole(QUEUE_SIZE_MAX), v.minValue(1)),
  areas: Areas,
  /** number of requests that the device has taken, modulo 2^16 */
  taken: Word,
});
export type SavedQueue = v.InferOutput<typeof SavedQueue>;

/** State of a pmem device as its guest's driver has set it; see `state.ts`. */
export const SavedPmem = v.object({
  /** QEMU's id */
  id: v.string(),
  /** command register of its PCI configuration space */
  command: Word,
  places: Places,
  /** features that its driver accepted */
  features: Features,
  status: Byte,
  /** its interrupt was raised and not taken */
  hasNews: v.boolean(),
  queue: v.optional(SavedQueue),
});
export type SavedPmem = v.InferOutput<typeof SavedPmem>;
