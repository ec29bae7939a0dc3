import * as v from 'valibot';
import { few } from '../../schema/saved-values.ts';
import { SavedPmem } from './pmem/saved.ts';
import { SavedVsock } from './vsock/saved.ts';

/** Members of a machine's description with states of devices that QEMU does not save, in the order of `state.json`. */
export const SAVED_STATES = {
  pmems: v.optional(few(SavedPmem), []),
  vsocks: v.optional(few(SavedVsock), []),
};

/** States of a machine's devices that QEMU does not save. */
export type SavedStates = {
  readonly [K in keyof typeof SAVED_STATES]: v.InferOutput<(typeof SAVED_STATES)[K]>;
};
