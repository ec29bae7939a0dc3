import type { Flag } from '../flag.ts';

/*
 * The program `nephos`: runs of images, and the verbs for running VMs.
 *
 *   main.ts            entry: finds the verb, prints help and errors, sets the exit code
 *   verb.ts, table/    the table of verbs; help, parser, completions and the man page derive from it
 *   parse.ts           command lines as docker's; suggest.ts: names nearest to a mistyped one
 *   help.ts            texts of --help
 *   verbs/             one file for each verb, loaded when it runs
 *   vms.ts             VMs by their names
 *   values.ts          sizes, times, ports and variables of command lines
 *   text.ts            columns, sizes and ages for people
 *
 * Invariants: a verb, its flags and its help are declared once, in the table. A verb loads only the modules that it needs. Standard output
 * has nothing but the output of the verb; messages, hints and progress are on standard error.
 */

/** Command line of a verb, parsed. */
export interface CommandLine {
  readonly verb: Verb;
  /** Returns true if the flag was given, and its last occurrence was not `--flag=false`. */
  readonly has: (flag: string) => boolean;
  /** Returns the last value of a flag. */
  readonly value: (flag: string) => string | undefined;
  /** Returns all values of a flag, in order. */
  readonly values: (flag: string) => readonly string[];
  readonly operands: readonly string[];
  /** command of the guest: words after the operands, without a `--` before them */
  readonly command: readonly string[];
}

/** Runs a verb; receives the table of all. @returns its exit code */
export type RunVerb = (line: CommandLine, verbs: readonly Verb[]) => Promise<number>;

/** Example of a verb's help. */
export interface Example {
  readonly command: string;
  /** purpose, in a few words */
  readonly shows: string;
}

/** A verb of `nephos`. */
export interface Verb {
  readonly name: string;
  /** arguments in the form of the help, e.g. `[OPTIONS] NAME COMMAND [ARG...]` */
  readonly usage: string;
  /** one line, without a full stop */
  readonly summary: string;
  /** paragraphs below the summary */
  readonly details?: readonly string[];
  /** `many`: the flag may be repeated; each takes one value */
  readonly flags: readonly Flag[];
  readonly examples: readonly Example[];
  /** smallest and largest number of operands; for a command line of the guest that before the command */
  readonly operands: readonly [least: number, most: number];
  /** the words after the operands are a command of the guest: flags must precede them */
  readonly hasCommand?: true;
  /** syntax of the operands, for completions: `<vm>`, `<image>`, `<path>`, or words */
  readonly completes?: string;
  /** exit code of the verb's own failures; 1 by default */
  readonly failure?: number;
  /** left out of help and completions */
  readonly isHidden?: true;
  readonly load: () => Promise<{ readonly run: RunVerb }>;
}

/** A failure for the user: one line, and a hint on a line of its own. */
export class VerbError extends Error {
  override readonly name = 'VerbError';
  readonly hint: string | undefined;

  constructor(message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.hint = hint;
  }
}
