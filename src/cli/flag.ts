/** One flag of a command. */
export interface Flag {
  /** without the dashes */
  readonly name: string;
  /** one letter, e.g. `v` for `-v` */
  readonly short?: string;
  /** `many`: one or more values after the flag, which may also be given again */
  readonly takes: 'none' | 'one' | 'many';
  readonly doc: string;
  /** form of a value, shown in help */
  readonly syntax?: string;
  /** value of the flag if none is given */
  readonly fallback?: string;
}
