import { randomInt } from 'node:crypto';
import { RunError } from '../errors.ts';

/** Names of VMs are names of files and host names: those of docker, with an upper bound. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;

const ADJECTIVES =
  'amber brisk calm clear crisp deep eager early fair fast fresh gentle grand green keen light lucid mild neat noble pale plain quick quiet rapid sharp silent solid steady stern swift tidy vast warm wide young';
const NOUNS =
  'alto breeze cirrus cloud cumulus dawn drizzle dune dusk ember fjord frost gale glacier haze horizon lagoon meadow mist moor nimbus peak pine rain reef ridge river shore sky snow squall stratus summit thunder tide valley wave wind';

/** @throws RunError for a text that cannot name a VM */
export function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw new RunError(
    'invalid',
    `${JSON.stringify(name)} cannot name a VM: use 1 to 63 letters, digits, "_", "." and "-", and begin with a letter or a digit`,
  );
}

/** Returns a name of two words and a number, e.g. `calm_river_417`. */
export function randomName(): string {
  return `${oneOf(ADJECTIVES)}_${oneOf(NOUNS)}_${randomInt(100, 1000)}`;
}

function oneOf(words: string): string {
  const all = words.split(' ');
  return all[randomInt(all.length)] ?? '';
}
