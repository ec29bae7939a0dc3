import { parseArgs } from 'node:util';
import { composeSnapshot } from '../sdk/compose-snapshot.ts';
import { reasonOf } from '../util/errno.ts';
import { UsageError } from './flags.ts';
import { interruptSignal } from './nephos/interrupt.ts';
import { checkSwitches } from './remote-arguments.ts';
import { CommandError } from './remote-bodies.ts';
import { snapshotDirectory } from './snapshot-directory.ts';

/** A full snapshot that is to be made of a chain. */
interface ComposeCall {
  readonly from: string;
  readonly to: string;
  readonly durable: boolean;
}

/**
 * Parses `snapshot compose [--durable] <directory> <new_directory>`. Returns undefined for any other command line. `--api-socket` is
 * accepted, and not used.
 * @throws UsageError
 */
export function parseCompose(argv: readonly string[]): ComposeCall | undefined {
  const { values, positionals, tokens } = parseArgs({
    args: [...argv],
    options: { 'api-socket': { type: 'string' }, durable: { type: 'boolean' } },
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const [name, word, from, to, surplus] = positionals;
  // `snapshot compose` alone is an URL without a scheme
  if (name !== 'snapshot' || word !== 'compose') return undefined;
  if (values['help'] !== undefined || values['h'] !== undefined) return undefined;
  const unknown = Object.keys(values).find((one) => !['api-socket', 'durable'].includes(one));
  const hint = 'expected snapshot compose [--durable] <directory> <new_directory>';
  const wrong = surplus ?? (unknown === undefined ? undefined : `--${unknown}`);
  if (wrong !== undefined) throw new UsageError(`Found argument '${wrong}' which wasn't expected`, hint);
  checkSwitches(tokens, ['durable']);
  if (from === undefined || to === undefined) {
    throw new UsageError(
      `The argument <${from === undefined ? 'directory' : 'new_directory'}> is required`,
      hint,
    );
  }
  return { from, to, durable: values['durable'] === true };
}

/** Makes a full snapshot of a chain; a signal that ends this program removes what was written. Rejects with CommandError. */
export async function runCompose({ from, to, durable }: ComposeCall): Promise<void> {
  using interrupt = interruptSignal();
  const { signal } = interrupt;
  await composeSnapshot(snapshotDirectory(from), snapshotDirectory(to), { durable, signal }).catch(
    (error: unknown) => {
      throw new CommandError(`${from}: cannot be composed: ${reasonOf(error)}`, undefined, { cause: error });
    },
  );
}
