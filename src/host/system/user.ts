import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** A user of this host. */
export interface HostUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** its supplementary groups can be found by its name */
  readonly inGroups: boolean;
}

const NAME = /^[a-z_][\w.@-]*\$?$/i;
const NUMBERS = /^(\d{1,10}):(\d{1,10})$/;
/** ID that the kernel uses for no user. */
const NO_ID = 2 ** 32 - 1;

/**
 * Finds a user by name or number in any of the host's databases, or takes `<uid>:<gid>` as it is.
 * Rejects with the reason.
 */
export async function findUser(text: string): Promise<HostUser> {
  const [, uid, gid] = NUMBERS.exec(text) ?? [];
  if (uid !== undefined && gid !== undefined) return numbered(text, Number(uid), Number(gid));
  if (!NAME.test(text) && !/^\d{1,10}$/.test(text)) throw new Error('is no name, and no <uid>:<gid>');
  const fields = (await lookUp(text)).split(':');
  const [name = '', , found, group] = fields;
  return { name, uid: Number(found), gid: Number(group), inGroups: true };
}

function numbered(name: string, uid: number, gid: number): HostUser {
  if (uid >= NO_ID || gid >= NO_ID) throw new Error('is beyond the numbers of users and groups');
  return { name, uid, gid, inGroups: false };
}

async function lookUp(text: string): Promise<string> {
  const unknown = `there is no such user${/^\d/.test(text) ? ': give <uid>:<gid>' : ''}`;
  try {
    return (await promisify(execFile)('getent', ['passwd', text])).stdout.trim();
  } catch (error) {
    throw new Error(unknown, { cause: error });
  }
}
