import { OWN_VERSION } from '../../version.ts';
import { ok, type Check } from '../doctor/check.ts';
import { checkGuestFiles } from '../doctor/guest-checks.ts';
import { checkAccelerator, checkFolders, checkTun, checkVsock } from '../doctor/host-checks.ts';
import { checkNode, checkQemu, checkTools } from '../doctor/program-checks.ts';
import type { CommandLine } from '../verb.ts';
import { showJson } from '../text.ts';
import { readWord } from '../values.ts';

const SIGNS = { ok: 'ok', warning: 'note', missing: 'MISSING' } as const;
const SIGN_WIDTH = 9;

/** Checks this machine. */
export async function run(line: CommandLine): Promise<number> {
  const format = readWord('format', line.value('format') ?? 'table', ['table', 'json']);
  const checks = await checkMachine();
  process.stdout.write(format === 'json' ? showJson(checks) : showChecks(checks));
  return checks.some(({ result }) => result === 'missing') ? 1 : 0;
}

async function checkMachine(): Promise<Check[]> {
  return [
    ok('Nephos', OWN_VERSION),
    checkNode(),
    ...(await checkQemu()),
    checkAccelerator(),
    ...checkTools(),
    ...(await checkGuestFiles()),
    checkTun(),
    checkVsock(),
    ...checkFolders(),
  ];
}

/** Returns a line for each check, and its cure below it. */
export function showChecks(checks: readonly Check[]): string {
  const problems = checks.filter(({ result }) => result === 'missing').length;
  const indent = ' '.repeat(SIGN_WIDTH);
  const lines = checks.flatMap(({ subject, result, found, cure }) => [
    `${SIGNS[result].padEnd(SIGN_WIDTH)}${subject}: ${found}`,
    ...(cure === undefined ? [] : [`${indent}-> ${cure}`]),
  ]);
  const end =
    problems === 0 ? 'nephos run works on this machine.' : `nephos run needs ${problems} of these first.`;
  return `${[...lines, '', end].join('\n')}\n`;
}
