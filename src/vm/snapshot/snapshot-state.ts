import * as v from 'valibot';
import { SavedDescriptionSchema } from '../machine-state/description-schema.ts';
import { fromSaved, type MachineDescription } from '../machine-state/machine-description.ts';
import { PAGE_BYTES } from '../../util/page.ts';
import { few, Name, parseSaved, whole } from '../machine-state/saved-values.ts';

/** A region of RAM and its place in `memory-ranges`, in `bytes`. */
const SavedRegion = v.object({
  id: Name,
  offset: whole(),
  length: whole(),
  /** memory zone whose `file` holds the region, which is not in `memory-ranges` then */
  zone: v.optional(Name),
});
export type SavedRegion = v.InferOutput<typeof SavedRegion>;

/** A run of pages within a region, in `bytes`. */
const Pages = v.object({ offset: whole(), length: whole() });

/** Pages over a file that is not in the snapshot, and their place in the region, which is their place in `memory-ranges`. */
const SavedOverlay = v.object({ ...SavedRegion.entries, pages: v.array(Pages) });
export type SavedOverlay = v.InferOutput<typeof SavedOverlay>;

const SavedStateSchema = v.object({
  ...SavedDescriptionSchema.entries,
  regions: few(SavedRegion, 4096),
  overlays: v.optional(few(SavedOverlay), []),
  /** QEMU's migration stream, in base64 */
  deviceState: v.string(),
});
/** Contents of `state.json`. */
export type SavedState = v.InferOutput<typeof SavedStateSchema>;

/** State of a machine in a snapshot. */
export interface SnapshotState extends Pick<SavedState, 'regions' | 'overlays' | 'deviceState'> {
  readonly description: MachineDescription;
}

/**
 * Parses `state.json`, whose RAM is in a file of `memoryBytes`.
 * @throws Error naming the invalid member
 */
export function parseSnapshotState(text: string, memoryBytes: number): SnapshotState {
  const saved = parseSaved(SavedStateSchema, JSON.parse(text));
  const { regions, overlays, deviceState, ...description } = saved;
  const inFile = regions.filter(({ zone }) => zone === undefined);
  for (const { id, offset, length } of [...inFile, ...overlays]) {
    if (offset % PAGE_BYTES !== 0 || offset + length > memoryBytes) {
      throw new Error(`the region ${id} is not within the ${memoryBytes} bytes of memory-ranges`);
    }
  }
  for (const { id, length, pages } of overlays) {
    if (pages.every((run) => run.offset + run.length <= length)) continue;
    throw new Error(`pages of the region ${id} are not within it`);
  }
  return { description: fromSaved(description), regions, overlays, deviceState };
}
