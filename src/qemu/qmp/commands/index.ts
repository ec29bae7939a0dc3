import type * as v from 'valibot';
import { checkReply } from '../command.ts';
import { blockCommands } from './block.ts';
import { chardevCommands } from './chardev.ts';
import { cpuCommands } from './cpus.ts';
import { deviceCommands } from './devices.ts';
import { machineCommands } from './machine.ts';
import { memoryCommands } from './memory.ts';
import { migrationCommands } from './migration.ts';
import { pciCommands } from './pci.ts';

/*
 * Every QMP command that is used, one file for each subject. An entry has the type of the arguments, which the compiler checks, and the
 * schema of the reply, which is checked at run time. Names of members are those of QEMU's QAPI schema; a member that QAPI marks
 * as optional is optional here. To use a further command, add it to the file of its subject.
 */

/** The table of commands. */
export const COMMANDS = {
  ...machineCommands,
  ...migrationCommands,
  ...blockCommands,
  ...memoryCommands,
  ...cpuCommands,
  ...deviceCommands,
  ...chardevCommands,
  ...pciCommands,
};

type Commands = typeof COMMANDS;
export type QmpCommandName = keyof Commands;

type ArgsOf<Name extends QmpCommandName> = Commands[Name] extends { readonly args?: infer Args }
  ? Args
  : never;

/** Reply of a command. */
export type ReplyOf<Name extends QmpCommandName> = v.InferOutput<Commands[Name]['reply']>;

/** Commands that pass file descriptors; the VMM's descriptors stay open. */
type Passing = 'getfd' | 'add-fd';

/** Parameters after the name of a command: none, its arguments, or its arguments and file descriptors. */
type ParametersOf<Name extends QmpCommandName> = [ArgsOf<Name>] extends [undefined]
  ? []
  : Name extends Passing
    ? [args: ArgsOf<Name>, fds: readonly number[]]
    : [args: ArgsOf<Name>];

/**
 * Runs a command and returns its reply. A second call does not wait for the first; QEMU runs them in order.
 * Rejects with QmpError.
 */
export type Execute = <Name extends QmpCommandName>(
  name: Name,
  ...parameters: ParametersOf<Name>
) => Promise<ReplyOf<Name>>;

/** Sends a command and returns its reply unchecked. */
export type SendCommand = (
  name: QmpCommandName,
  args: Readonly<Record<string, unknown>> | undefined,
  fds: readonly number[],
) => Promise<unknown>;

/** Returns an `execute` that checks every reply, from a function that sends commands. */
export function typedExecute(send: SendCommand): Execute {
  return async (name, ...[args, fds = []]) => checkReply(name, schemaOf(name), await send(name, args, fds));
}

function schemaOf<Name extends QmpCommandName>(name: Name): v.GenericSchema<unknown, ReplyOf<Name>> {
  // the compiler cannot relate the schema to the type of `name`
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return COMMANDS[name].reply;
}
