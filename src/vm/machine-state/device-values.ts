import * as v from 'valibot';
import { few, whole } from '../../schema/saved-values.ts';

/*
 * Schemas of the registers of devices in a machine's description. It comes from a file or another VMM, so each value has bounds.
 */

export const Byte = whole(0xff);
export const Word = whole(0xffff);
export const Doubleword = whole(0xffff_ffff);

/** Guest addresses of the three areas of a queue, each as lower and upper 32 bits. */
export const Areas = v.pipe(v.array(Doubleword), v.length(6));
/** Base addresses of a PCI function: more than any function has. */
export const Places = few(Doubleword, 16);
/** Feature bits of a virtio device, as lower and upper 32 bits. */
export const Features = v.pipe(v.array(Doubleword), v.length(2));
/** Largest queue of a virtio device, in descriptors. */
export const QUEUE_SIZE_MAX = 32_768;
