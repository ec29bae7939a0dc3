import * as v from 'valibot';
import { parseSaved } from '../../schema/saved-values.ts';
import { checkMemoryLayout, LAYOUT_MEMBERS, type MemoryLayout } from '../../snapshot-files/memory-layout.ts';
import { SavedDescriptionSchema } from '../machine-state/description-schema.ts';
import { parseState, type ParsedState } from '../../snapshot-files/state-text.ts';
import { fromSaved, type MachineDescription } from '../machine-state/machine-description.ts';

const SavedStateSchema = v.object({
  ...SavedDescriptionSchema.entries,
  ...LAYOUT_MEMBERS,
  /** QEMU's migration stream, in base64 */
  deviceState: v.string(),
});
/** Contents of `state.json`. */
export type SavedState = v.InferOutput<typeof SavedStateSchema>;

/** State of a machine in a snapshot. */
export interface SnapshotState extends MemoryLayout, Pick<ParsedState, 'deviceState'> {
  readonly description: MachineDescription;
}

/**
 * Parses `state.json`, whose RAM is in a file of `memoryBytes`.
 * @throws Error naming the invalid member
 */
export function parseSnapshotState(state: Buffer, memoryBytes: number): SnapshotState {
  const { members, deviceState } = parseState(state);
  const saved = parseSaved(SavedStateSchema, members);
  const { base, replaces, regions, overlays, deviceState: _, ...description } = saved;
  const layout = { base, replaces, regions, overlays };
  checkMemoryLayout(layout, memoryBytes);
  return { description: fromSaved(description), ...layout, deviceState };
}
