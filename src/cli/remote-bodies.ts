import { RestoreConfig } from '../api/requests.ts';
import { ConfigError } from '../config/errors.ts';
import { parseFlag } from '../config/from-words.ts';
import type { Device } from '../devices/device.ts';
import { decode, DecodeError, encode } from '../schema/decode.ts';
import { readDecimal } from '../schema/kinds.ts';
import { parseSize } from '../schema/size.ts';
import { reasonOf } from '../util/errno.ts';
import { UsageError } from './flags.ts';

/** What a sub-command could not do; printed behind `Error running command: `. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/** What stands behind a sub-command. */
export interface CommandWords {
  readonly argument: string | undefined;
  readonly options: ReadonlyMap<string, string>;
}

/** Makes a request's body from the words of the command line; throws CommandError or UsageError. */
export type MakeBody = (words: CommandWords) => unknown;

/** The configuration of a device from its option string, every default filled in; `what` is the original's word for it. */
export function deviceBody({ flag, struct }: Pick<Device, 'flag' | 'struct'>, what: string): MakeBody {
  return (words) => {
    const text = needed(words.argument, `${what}_config`);
    if (flag === undefined || struct === undefined) throw new Error(`${what} has no option string`);
    try {
      return encode(struct, decode(struct, parseFlag(flag, struct, text).json));
    } catch (error) {
      if (!(error instanceof ConfigError || error instanceof DecodeError)) throw error;
      throw new CommandError(`Error parsing ${what} syntax: ${error.message}`);
    }
  };
}

/** A restore from its option string; what has no words (`overrides`) can be told by giving the JSON. */
export const restoreBody: MakeBody = (words) => {
  const text = needed(words.argument, 'restore_config');
  try {
    const json: unknown = text.startsWith('{')
      ? JSON.parse(text)
      : parseFlag('restore', RestoreConfig, text).json;
    return encode(RestoreConfig, decode(RestoreConfig, json));
  } catch (error) {
    throw new CommandError(`Error parsing restore syntax: ${reasonOf(error)}`);
  }
};

/** `{"<member>":"<argument>"}` */
export function argumentBody(member: string): MakeBody {
  return ({ argument }) => ({ [member]: needed(argument, member) });
}

/** The sizes that are given; `null` where none is, as the original sends it. */
export const resizeBody: MakeBody = ({ options }) => ({
  desired_vcpus: convert(options.get('cpus'), 'CPU count', (text) => readDecimal(text, 255)),
  desired_ram: convert(options.get('memory'), 'memory size', parseSize),
  desired_balloon: convert(options.get('balloon'), 'balloon size', parseSize),
});

/** The zone and its new size. */
export const resizeZoneBody: MakeBody = ({ options }) => ({
  id: needed(options.get('id'), '--id'),
  desired_ram: convert(needed(options.get('size'), '--size'), 'memory size', parseSize),
});

/** The disk and its new size. */
export const resizeDiskBody: MakeBody = ({ options }) => ({
  id: needed(options.get('disk'), '--disk'),
  desired_size: convert(needed(options.get('size'), '--size'), 'disk size', parseSize),
});

function convert(text: string | undefined, what: string, read: (text: string) => number): number | null {
  if (text === undefined) return null;
  try {
    return read(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`Error parsing ${what}: ${JSON.stringify(text)}: ${reason}`);
  }
}

function needed(value: string | undefined, name: string): string {
  if (value === undefined) throw new UsageError(`The argument <${name}> is required`);
  return value;
}
