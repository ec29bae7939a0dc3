/** Candidates for a value, from its syntax in the help. */
export interface OptionString {
  /** literal words, e.g. `tty` */
  readonly words: readonly string[];
  readonly keys: readonly OptionKey[];
  /** true if the whole value may be a path */
  readonly isPath: boolean;
  /** names that the program lists when they are completed, e.g. of VMs */
  readonly lists: readonly ListedNames[];
}

/** Placeholders for names that the program lists. */
export const LISTS = { '<vm>': 'ps -aq', '<image>': 'images -q' } as const;

/** A placeholder of {@link LISTS}. */
export type ListedNames = keyof typeof LISTS;

/** A `key=value` of an option string. */
export interface OptionKey {
  readonly key: string;
  /** values, if they are a list of words */
  readonly values: readonly string[];
  readonly isPath: boolean;
}

/** Parses a syntax of the help, e.g. `path=<path>,readonly=on|off (default: readonly=off)`. */
export function readSyntax(syntax: string): OptionString {
  const [shown = ''] = syntax.split(' (default:');
  const words: string[] = [];
  const keys = new Map<string, string[]>();
  for (const member of shown.split(',')) {
    // alternatives after a key are its values
    let values = words;
    for (const alternative of member.split('|')) {
      const [, key, value = alternative] = /^([a-z_]+)=(.*)$/.exec(alternative) ?? [];
      if (key !== undefined) keys.set(key, (values = []));
      values.push(value);
    }
  }
  return {
    words: words.filter(isLiteral),
    keys: [...keys].map(([key, values]) => ({
      key,
      values: values.filter(isLiteral),
      isPath: values.includes('<path>'),
    })),
    isPath: /(^|\|)<path>/.test(shown),
    lists: LISTED.filter((name) => shown.split('|').includes(name)),
  };
}

const LISTED: readonly ListedNames[] = ['<vm>', '<image>'];

function isLiteral(word: string): boolean {
  return /^[a-z\d-]+(?:\/[a-z\d]+)?$/.test(word);
}
