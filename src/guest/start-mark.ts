import { randomBytes } from 'node:crypto';

/** Longest output before the mark that is searched, in bytes: start-up files of a shell may write. */
const SEARCHED_BYTES = 65_536;

/** Process id of a command, which the shell writes as the first line of its output, before it becomes the command. */
export interface StartMark {
  /** Command of the shell that writes the line; any kind of shell but fish accepts it */
  readonly command: string;
  /** Takes output, and returns what belongs to the command: nothing before the mark */
  readonly filter: (bytes: Buffer) => Buffer | undefined;
  /** Takes the end of the output. Returns what was kept back, if there was no mark */
  readonly flush: () => Buffer | undefined;
}

/** Creates a mark that no output contains by chance. `found` gets the process id; undefined if there is none. */
export function createStartMark(found: (pid: number | undefined) => void): StartMark {
  const name = `nephos-${randomBytes(9).toString('hex')}`;
  let kept: Buffer | undefined = Buffer.alloc(0);
  const settle = (pid: number | undefined): void => {
    kept = undefined;
    found(pid);
  };
  return {
    command: `echo ${name} $$`,
    filter: (bytes) => {
      if (kept === undefined) return bytes;
      const all = Buffer.concat([kept, bytes]);
      const start = all.indexOf(`${name} `);
      const end = start < 0 ? -1 : all.indexOf(10, start);
      if (end >= 0) {
        const pid = Number(all.toString('latin1', start + name.length + 1, end));
        settle(Number.isSafeInteger(pid) && pid > 1 ? pid : undefined);
        return all.subarray(end + 1);
      }
      kept = all;
      if (all.length <= SEARCHED_BYTES) return undefined;
      settle(undefined);
      return all;
    },
    flush: () => {
      const rest = kept;
      if (rest !== undefined) settle(undefined);
      return rest;
    },
  };
}
