import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { requireProgramDescriptors } from '../../util/free-descriptors.ts';

const start = promisify(execFile);

/** Runs `ip` or `tc`, each word an argument of its own. Rejects with its error message, and the remedy. */
export async function iproute(tool: 'ip' | 'tc', words: readonly string[]): Promise<void> {
  try {
    requireProgramDescriptors();
    // an ordinary user's PATH often lacks their folder
    await start(tool, words, { env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' } });
  } catch (error) {
    throw new Error(whyNot(tool, words, error), { cause: error });
  }
}

function whyNot(tool: string, words: readonly string[], error: unknown): string {
  if (codeOf(error) === 'ENOENT') return `the program ${tool} is missing: install iproute2`;
  const message = errorMessageOf(error);
  const [, remedy = ''] = REMEDIES.find(([part]) => message.includes(part)) ?? [];
  return `${tool} ${words.slice(0, 2).join(' ')}: ${message}${remedy}`;
}

const OCCUPIED = ' (the interface has a queueing discipline of its own: tc qdisc del)';
const REMEDIES: readonly (readonly [string, string])[] = [
  ['not permitted', ': grant CAP_NET_ADMIN (an ambient capability)'],
  ['Exclusivity', OCCUPIED],
  ['NLM_F_REPLACE', OCCUPIED],
];

function errorMessageOf(error: unknown): string {
  const text = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
  const [first = ''] = text.split('\n');
  return first.replace(/^(Error|RTNETLINK answers): /, '') || reasonOf(error);
}
