import { RestoreConfig } from '../api/requests.ts';
import { ConfigError } from '../config/errors.ts';
import { parseFlag } from '../config/from-words.ts';
import { randomMac } from '../host/net/random-mac.ts';
import type { Device, HotAddCommand } from '../devices/device.ts';
import { decode, DecodeError, membersWithoutEffect } from '../schema/decode.ts';
import type { Struct } from '../schema/field.ts';
import { parseSize } from '../schema/size.ts';
import { parseWords, OptionStringError } from '../schema/option-string.ts';
import { reasonOf } from '../util/errno.ts';
import { expected, nearest } from '../util/nearest.ts';
import { fullBody } from './full-body.ts';
import { decodeRestore } from './restore-words.ts';

/** Error of a sub-command, printed after `Error running command: `. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  /** expected or intended text; printed on a line of its own */
  readonly hint: string | undefined;

  constructor(message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.hint = hint;
  }
}

/** Arguments of a sub-command. */
export interface CommandWords {
  /** empty if there is none */
  readonly argument: string;
  readonly options: ReadonlyMap<string, string>;
  /** options without a value that were given */
  readonly switches?: readonly string[];
  /** Reports an option that is accepted without effect. */
  readonly warn: (text: string) => void;
}

/** Makes the body of a request from command-line arguments; throws CommandError. */
export type MakeBody = (words: CommandWords) => unknown;

/** Returns the maker of an add request's body: the device's configuration from its option string, with every default. */
export function deviceBody({ flag, struct }: Device, { noun, randomMac: mac }: HotAddCommand): MakeBody {
  return ({ argument, warn }) => {
    if (flag === undefined || struct === undefined) throw new Error(`${noun} has no option string`);
    try {
      const { json, warnings } = parseFlag(flag, struct, argument);
      const config = decode(struct, json);
      for (const text of [...warnings, ...membersWithoutEffect(struct, config)]) warn(text);
      const body = fullBody(struct, config);
      return mac === undefined ? body : { ...body, [mac]: body[mac] ?? randomMac() };
    } catch (error) {
      if (!(error instanceof ConfigError || error instanceof DecodeError)) throw error;
      throw new CommandError(`Error parsing ${noun} syntax: ${error.message}`, hintOf(error), {
        cause: error,
      });
    }
  };
}

/** Makes the body of vm.restore from an option string, or from JSON, which can also have `overrides`. */
export const restoreBody: MakeBody = ({ argument: text, warn }) => {
  try {
    const { request, warnings } = decodeRestore(text);
    for (const one of warnings) warn(one);
    return fullBody(RestoreConfig, request);
  } catch (error) {
    throw new CommandError(`Error parsing restore syntax: ${reasonOf(error)}`, hintOf(error), {
      cause: error,
    });
  }
};

/** Returns the maker of a migration's body: from a URL, or an option string of later releases, `destination_url=unix:/x,local=on`. */
export function migrationBody(struct: Struct, member: string, what: string): MakeBody {
  return ({ argument, warn }) => {
    if (!/^[a-z_]+=/.test(argument)) return { [member]: argument };
    try {
      const { json, warnings } = parseWords(struct, argument);
      for (const text of warnings) warn(text);
      return json;
    } catch (error) {
      const hint = error instanceof OptionStringError ? error.hint : undefined;
      throw new CommandError(`Error parsing ${what} configuration: ${reasonOf(error)}`, hint, {
        cause: error,
      });
    }
  };
}

function hintOf(error: unknown): string | undefined {
  return error instanceof ConfigError ? error.hint : undefined;
}

/** Returns a maker of the body `{"<member>":"<argument>"}`. */
export function argumentBody(member: string): MakeBody {
  return ({ argument }) => ({ [member]: argument });
}

/** Makes the body of vm.snapshot; that of Cloud Hypervisor without switches and options. */
export const snapshotBody: MakeBody = ({ argument, options, switches = [] }) => ({
  destination_url: argument,
  ...(switches.includes('live') && { live: true }),
  ...disksOf(options.get('disks'), switches.includes('live')),
  ...((switches.includes('diff') || switches.includes('compose')) && { snapshot_type: 'diff' }),
  ...(switches.includes('compose') && { compose: true }),
});

/** The only value of `--disks`. */
const DISKS = 'copy';

function disksOf(value: string | undefined, isLive: boolean): { readonly disks?: string } {
  if (value === undefined) return {};
  if (value !== DISKS)
    throw new CommandError(`--disks: "${value}" is unknown`, expected(DISKS, nearest(value, [DISKS])));
  if (!isLive) throw new CommandError('--disks needs --live', 'copy the images of a paused VM');
  return { disks: value };
}

/** Makes the body of vm.resize. Sizes that are not given are `null`, as Cloud Hypervisor sends them. */
export const resizeBody: MakeBody = ({ options }) => ({
  desired_vcpus: countOf(options.get('cpus')),
  desired_ram: sizeOf(options.get('memory'), 'memory size'),
  desired_balloon: sizeOf(options.get('balloon'), 'balloon size'),
});

/** Makes the body of vm.resize-zone. */
export const resizeZoneBody: MakeBody = ({ options }) => ({
  id: options.get('id'),
  desired_ram: sizeOf(options.get('size'), 'memory size'),
});

/** Makes the body of vm.resize-disk. */
export const resizeDiskBody: MakeBody = ({ options }) => ({
  id: options.get('disk'),
  desired_size: sizeOf(options.get('size'), 'disk size'),
});

function sizeOf(text: string | undefined, what: string): number | null {
  if (text === undefined) return null;
  try {
    return parseSize(text);
  } catch (error) {
    const stripped = JSON.stringify(text.replace(/[KMG]+$/, ''));
    throw new CommandError(`Error parsing ${what}: InvalidValue(${stripped})`, reasonOf(error), {
      cause: error,
    });
  }
}

/** Parses a number of 8 bits. Errors have the texts of Cloud Hypervisor. */
function countOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const fail = (why: string) => new CommandError(`Error parsing CPU count: ${why}`);
  if (text === '') throw fail('cannot parse integer from empty string');
  if (!/^\+?\d+$/.test(text)) throw fail('invalid digit found in string');
  if (Number(text) > 255) throw fail('number too large to fit in target type');
  return Number(text);
}
