import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { KERNEL } from './guest.ts';
import type { ShellBlock } from './markdown.ts';
import { REPO } from './vmm.ts';

/** Time limit of the commands of a document, in seconds. */
const LIMIT_S = 240;

/** Exit code and output of a document's commands. */
export interface DocumentRun {
  readonly code: number | null;
  readonly output: string;
}

/**
 * Runs blocks one behind the other in one shell, which ends with the first command that fails. The shell has its own
 * network and processes: they end with the shell. Its home has the demo guest, /tmp is a folder of its own, and
 * this project's commands are on its PATH.
 */
export async function runBlocks(blocks: readonly ShellBlock[]): Promise<DocumentRun> {
  const home = mkdtempSync(join(tmpdir(), 'docs-'));
  try {
    mkdirSync(join(home, '.cache'));
    symlinkSync(dirname(dirname(KERNEL)), join(home, '.cache', 'nephos'));
    mkdirSync(join(home, 'tmp'));
    const script = join(home, 'blocks.sh');
    const code = blocks.map((one) => `echo '# ${one.file}:${one.line}'\n${one.code}`).join('\n');
    writeFileSync(script, code.replaceAll('/tmp/', `${home}/tmp/`));
    return await runIsolated(script, home);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

function runIsolated(script: string, home: string): Promise<DocumentRun> {
  const isolate = ['--net', '--pid', '--fork', '--kill-child', '--mount', '--mount-proc'];
  const start = `ip link set lo up && exec bash -eo pipefail "$0"`;
  const child = spawn(
    'timeout',
    ['-k', '5', String(LIMIT_S), 'unshare', ...isolate, 'sh', '-c', start, script],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        HOME: home,
        USER: 'root',
        PATH: `${join(REPO, 'bin')}:${process.env['PATH']}:/usr/sbin:/sbin`,
      },
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}
