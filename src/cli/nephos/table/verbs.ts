import type { VerbGroup } from '../help.ts';
import type { Verb } from '../verb.ts';
import { GUEST_VERBS } from './guest-verbs.ts';
import { HOST_VERBS } from './host-verbs.ts';
import { IMAGE_VERBS } from './image-verbs.ts';
import { POOL_VERBS } from './pool-verbs.ts';
import { VM_VERBS } from './vm-verbs.ts';

/** All verbs, in the order of the help. */
export const VERB_GROUPS: readonly VerbGroup[] = [
  { title: 'Commands and files', verbs: GUEST_VERBS },
  { title: 'VMs', verbs: VM_VERBS },
  { title: 'Pools', verbs: POOL_VERBS },
  { title: 'Images', verbs: IMAGE_VERBS },
  { title: 'This machine', verbs: HOST_VERBS },
];

export const VERBS: readonly Verb[] = VERB_GROUPS.flatMap(({ verbs }) => verbs);

/** Returns the verb with a name. */
export function findVerb(name: string): Verb | undefined {
  return VERBS.find((verb) => verb.name === name);
}
