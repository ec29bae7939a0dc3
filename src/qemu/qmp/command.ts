import * as v from 'valibot';
import { QmpError } from './qmp-error.ts';

/** A QMP command: the type of its arguments, which exists at compile time only, and the schema of its reply. */
export interface QmpCommand<Args, Reply> {
  readonly reply: v.GenericSchema<unknown, Reply>;
  /** never set */
  readonly args?: Args;
}

/** A command without arguments. */
export function query<Reply>(reply: v.GenericSchema<unknown, Reply>): QmpCommand<undefined, Reply> {
  return { reply };
}

/** A command with arguments and a reply. */
export function queryWith<Args, Reply>(reply: v.GenericSchema<unknown, Reply>): QmpCommand<Args, Reply> {
  return { reply };
}

/** A command whose reply holds nothing that is used. */
export function action<Args = undefined>(): QmpCommand<Args, void> {
  return { reply: NOTHING };
}

const NOTHING: v.GenericSchema<unknown, void> = v.pipe(
  v.object({}),
  v.transform(() => undefined),
);

/**
 * Checks what QEMU returned for a command. Members that the schema does not name are left out, as newer QEMUs add some.
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

/** The first problem is enough to report, and a large reply is not searched for more. */
export const ONE_ISSUE = { abortEarly: true } as const;

/** Describes a value that does not fit, e.g. `expected number, received undefined`. */
export function misfit({ expected, received }: v.BaseIssue<unknown>): string {
  return `expected ${expected ?? 'another value'}, received ${received}`;
}
