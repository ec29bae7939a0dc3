import * as v from 'valibot';
import { QmpError } from './qmp-error.ts';

/** A QMP command: the type of its arguments, which exists at compile time only, and the schema of its reply. */
export interface QmpCommand<Args, Reply> {
  readonly reply: v.GenericSchema<unknown, Reply>;
  /** never set: carries the type only */
  readonly args?: Args;
}

/** Returns a command without arguments. */
export function query<Reply>(reply: v.GenericSchema<unknown, Reply>): QmpCommand<undefined, Reply> {
  return { reply };
}

/** Returns a command with arguments and a reply. */
export function queryWith<Args, Reply>(reply: v.GenericSchema<unknown, Reply>): QmpCommand<Args, Reply> {
  return { reply };
}

/** Returns a command whose reply is ignored. */
export function action<Args = undefined>(): QmpCommand<Args, void> {
  return { reply: NOTHING };
}

const NOTHING: v.GenericSchema<unknown, void> = v.pipe(
  v.object({}),
  v.transform(() => undefined),
);

/**
 * Checks the reply of QEMU to a command. Members that the schema does not name are left out, as newer versions of QEMU add some.
 * @throws QmpError naming command and member
 */
export function checkReply<Reply>(
  command: string,
  schema: v.GenericSchema<unknown, Reply>,
  value: unknown,
): Reply {
  const result = v.safeParse(schema, value, ONE_ISSUE);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const member = v.getDotPath(issue) ?? '';
  const problem = misfit(issue);
  const reason = `QEMU’s reply does not fit: ${member === '' ? problem : `${member}: ${problem}`}`;
  throw new QmpError(command, reason, { member });
}

/** Option of the check: it stops at the first problem, because a reply may be large. */
export const ONE_ISSUE = { abortEarly: true } as const;

/** Describes a value that does not fit, e.g. `expected number, received undefined`. */
export function misfit({ expected, received }: v.BaseIssue<unknown>): string {
  return `expected ${expected ?? 'another value'}, received ${received}`;
}
