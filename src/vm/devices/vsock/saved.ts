import * as v from 'valibot';
import { few, whole } from '../../../schema/saved-values.ts';
import {
  Areas,
  Byte,
  Doubleword,
  Features,
  Places,
  QUEUE_SIZE_MAX,
  Word,
} from '../../machine-state/device-values.ts';

/** State of a virtio device on PCI as its guest's driver has set it; see `qemu/guest-bus/virtio-function.ts`. */
const SavedFunction = v.object({
  command: Word,
  places: Places,
  msix: v.optional(v.object({ control: Word, table: few(Doubleword, 2048 * 4) })),
  features: Features,
  status: Byte,
  configVector: Word,
  queues: few(
    v.object({ size: whole(QUEUE_SIZE_MAX), vector: Word, enabled: v.boolean(), areas: Areas }),
    1024,
  ),
  selected: few(Doubleword),
});

/** State of a vsock device; see `state.ts`. */
export const SavedVsock = v.object({
  /** id as clients know it */
  id: v.string(),
  /** address of the guest at the time of the snapshot */
  cid: whole(),
  /** see `HandoverState` in `backends/vsock/thread-messages.ts` */
  past: v.object({
    streams: few(v.object({ guestPort: Doubleword, hostPort: Doubleword }), 65_536),
    nextHostPort: Doubleword,
  }),
  state: SavedFunction,
});
export type SavedVsock = v.InferOutput<typeof SavedVsock>;
