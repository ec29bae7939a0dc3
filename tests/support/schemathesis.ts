import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pythonTools, run } from './document-tools.ts';

const PACKAGE = 'schemathesis==4.32.5';

/** A finding of schemathesis: an operation, e.g. `PUT /vm.create`, a check, and its message. */
export interface Finding {
  readonly operation: string;
  readonly check: string;
  readonly text: string;
}

/** An accepted finding: it is no fault, for the reason. */
export interface Meant {
  readonly check: string;
  readonly operation: RegExp;
  readonly text?: RegExp;
  readonly reason: string;
}

interface Options {
  /** of the document */
  readonly document: string;
  /** of the API, without a trailing slash */
  readonly url: string;
  /** for its files */
  readonly folder: string;
  /** paths that are left alone, e.g. `/vmm.shutdown` */
  readonly without: readonly string[];
  /** requests of each operation beside those at the bounds */
  readonly examples: number;
}

/** Lets schemathesis send valid and invalid requests of a document, with all checks in all phases. */
export async function findings(options: Options): Promise<Finding[]> {
  const { document, url, folder, without, examples } = options;
  const program = join(await pythonTools(PACKAGE), 'schemathesis');
  // a run that stops at its first finding of an operation would hide the others
  const words = [
    '--checks=all',
    '--phases=examples,coverage,fuzzing,stateful',
    '--continue-on-failure',
    '--seed=1',
  ];
  const more = ['--suppress-health-check=all', '--no-color', `--max-examples=${examples}`];
  const paths = without.map((path) => `--exclude-path=${path}`);
  const { code, output } = await run(
    [program, 'run', document, `--url=${url}`, ...words, ...more, ...paths],
    { cwd: folder, minutes: 40 },
  );
  writeFileSync(join(folder, 'schemathesis.log'), output);
  if (code !== 0 && code !== 1) throw new Error(`schemathesis ended with ${code}:\n${output.slice(-4000)}`);
  return findingsIn(output, code);
}

/** Returns the findings that are not accepted. */
export function unmeant(all: readonly Finding[], meant: readonly Meant[]): Finding[] {
  return all.filter(
    (one) =>
      !meant.some(
        ({ check, operation, text = /(?:)/ }) =>
          check === one.check && operation.test(one.operation) && text.test(one.text),
      ),
  );
}

/**
 * Reads the findings as they are printed: below a line with the operation, `- ST202 <title>` and the answer.
 * One whose form is unknown is a finding too.
 */
function findingsIn(output: string, code: number): Finding[] {
  const [, failures = ''] = output.split(/^=+ (?:FAILURES|ERRORS) =+$/m);
  const parts = failures.split(/^_+ ([A-Z]+ \/\S+) _+$/m).slice(1);
  const found = parts.flatMap((operation, i) => {
    if (i % 2 === 1) return [];
    const tests = (parts[i + 1] ?? '').split(/^\d+\. Test Case ID: /m).slice(1);
    return tests.flatMap((text) => {
      const checks = [...text.matchAll(/^- (ST\d+) /gm)];
      return checks.map(([, check = '']): Finding => ({ operation, check, text }));
    });
  });
  const told = /, (\d+) found (\d+) unique failures/.exec(output)?.[2];
  const counted = told === undefined ? 0 : Number(told);
  if (code === 0 ? counted === 0 : counted > 0 && counted <= found.length) return found;
  return [...found, { operation: 'all', check: 'unread', text: output.slice(-4000) }];
}
