import { bashCompletion } from '../../manual/bash.ts';
import { fishCompletion } from '../../manual/fish.ts';
import { zshCompletion } from '../../manual/zsh.ts';
import type { CommandLine, Verb } from '../verb.ts';
import { nephosCommand } from '../manual-command.ts';
import { readWord } from '../values.ts';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

/** Prints the completion script of a shell. */
export async function run({ operands: [shell = ''] }: CommandLine, verbs: readonly Verb[]): Promise<number> {
  process.stdout.write(SHELLS[readWord('SHELL', shell, ['bash', 'zsh', 'fish'])](nephosCommand(verbs)));
  return 0;
}
