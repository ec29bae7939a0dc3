import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options: { type: 'major'; execution: 'async' }) => Promise<void>;

/** Flags of V8 (in Node 20 to 24), with which a collection drops compiled code. */
const DROPS_CODE = ['flush-baseline-code', 'stress-flush-code'] as const;

/**
 * Collects the garbage of V8 in a task of its own. V8 otherwise leaves that of a start for hours, because an idle process allocates
 * nothing. About ten seconds after a collection V8 also returns free pages to the host, if the process is idle then.
 *
 * `dropCode` drops the compiled code of all functions that are not running, too. V8 compiles a function again, from the source, at its
 * next call.
 */
export async function collectGarbage({ dropCode = false } = {}): Promise<void> {
  const collect = findCollect();
  const flags = dropCode ? DROPS_CODE : [];
  setFlags(flags, true);
  try {
    await collect({ type: 'major', execution: 'async' });
  } finally {
    setFlags(flags, false);
  }
}

/** Returns V8's function. */
function findCollect(): Collect {
  setFlags(['expose-gc'], true);
  try {
    const found: unknown = runInNewContext('gc');
    if (!isCollect(found)) throw new Error('V8 has no function gc');
    return found;
  } finally {
    setFlags(['expose-gc'], false);
  }
}

/** Sets flags of V8, which are off by default. They are on for a collection only: V8 refuses code caches that were made with other flags. */
function setFlags(names: readonly string[], isOn: boolean): void {
  for (const name of names) setFlagsFromString(isOn ? `--${name}` : `--no-${name}`);
}

function isCollect(value: unknown): value is Collect {
  return typeof value === 'function';
}
