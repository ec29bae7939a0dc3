import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { pinThread, processorsIn } from './cpu-affinity.ts';

/*
 * Placement of a process on the host by other programs: its control groups, and the processors of its threads. A process that takes the
 * place of another one gets the same. A failure is logged: the process runs without it.
 */

const log = createLog('affinity');

/** A control group of a process: its hierarchy, by the names of its controllers, and its path there. */
interface Membership {
  /** empty: version 2 */
  readonly controllers: string;
  readonly path: string;
}

/** Parses /proc/<pid>/cgroup (cgroups(7)). */
export function parseControlGroups(text: string): Membership[] {
  return text.split('\n').flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    return controllers === undefined || path === undefined ? [] : [{ controllers, path }];
  });
}

/** Moves a process into the control groups of another one, as far as they differ. */
export async function copyControlGroups(from: number, to: number): Promise<void> {
  const read = async (pid: number): Promise<Membership[]> =>
    parseControlGroups(await readFile(`/proc/${pid}/cgroup`, 'utf8'));
  try {
    const own = new Map((await read(to)).map(({ controllers, path }) => [controllers, path]));
    for (const group of await read(from)) {
      if (own.get(group.controllers) !== group.path) await enter(group, to);
    }
  } catch (error) {
    log.warn(`process ${to}: its control groups are those of the VMM: ${reasonOf(error)}`);
  }
}

async function enter({ controllers, path }: Membership, pid: number): Promise<void> {
  const name = controllers.replace(/^name=/, '');
  // with both versions mounted, version 2 is in a folder of its own
  const folders = name === '' ? ['unified', ''] : [name];
  const reasons: unknown[] = [];
  for (const folder of folders) {
    try {
      await writeFile(join('/sys/fs/cgroup', folder, path, 'cgroup.procs'), String(pid));
      return;
    } catch (error) {
      reasons.push(error);
    }
  }
  throw reasons.at(-1);
}

/** Lets a thread use the processors of another one, as far as they differ. */
export async function copyProcessors(from: number, to: number): Promise<void> {
  try {
    const [wanted, own] = [await processorsIn(from), await processorsIn(to)];
    if (wanted.join() !== own.join()) await pinThread(to, wanted);
  } catch (error) {
    log.warn(`thread ${to}: its processors are not those of thread ${from}: ${reasonOf(error)}`);
  }
}
