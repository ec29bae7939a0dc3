import * as v from 'valibot';
import { few, parseSaved } from '../schema/saved-values.ts';
import type { ComposedMemory } from './compose-memory.ts';
import { withFacts, type SnapshotFacts } from './manifest.ts';
import { REPLACED_MAX } from './memory-layout.ts';
import type { ReadSnapshot } from './read-chain.ts';

/** Members that this version does not know stay. */
const Machine = v.looseObject({ replaces: v.optional(few(v.string(), REPLACED_MAX), []) });

/**
 * Returns the `state.json` of a full snapshot with the contents of another one: the same machine, its RAM in other places, and no base.
 */
export function composedState(
  { state, sha256 }: Pick<ReadSnapshot, 'state' | 'sha256'>,
  { regions, overlays }: ComposedMemory,
  facts: SnapshotFacts,
): string {
  const saved = parseSaved(Machine, JSON.parse(state.toString('utf8')));
  const { manifest: _, base: __, replaces, deviceState, ...machine } = saved;
  const composed = {
    ...machine,
    regions,
    overlays,
    replaces: [sha256, ...replaces].slice(0, REPLACED_MAX),
    // the last member: see `state-text.ts`
    deviceState,
  };
  return withFacts(JSON.stringify(composed), facts);
}
