import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { guestTools } from '../../src/run/guest-tools/guest-tools.ts';
import { copyGuestTools } from './guest-tools-copy.ts';
import type { DocumentRegistry } from './document-registry.ts';
import { KERNEL } from './guest.ts';
import type { ShellBlock } from './markdown.ts';
import { REPO } from './vmm.ts';

/** Time limit of the commands of a document, in seconds: on a busy machine ten guests boot in it. */
const LIMIT_S = 600;

/** Exit code and output of a document's commands. */
export interface DocumentRun {
  readonly code: number | null;
  readonly output: string;
}

/** Surroundings of a document's commands. */
export interface DocumentShellOptions {
  readonly registry?: DocumentRegistry | undefined;
  /** Adds files to the home before the commands run */
  readonly prepare?: (home: string) => void;
}

/**
 * Runs blocks one behind the other in one shell, which ends with the first command that fails. The shell has its own
 * network and processes: they end with the shell. Its home has the demo guest, /tmp is a folder of its own, and
 * this project's commands are on its PATH. `options.prepare` adds to the home.
 */
export async function runBlocks(
  blocks: readonly ShellBlock[],
  { registry, prepare }: DocumentShellOptions = {},
): Promise<DocumentRun> {
  const home = mkdtempSync(join(tmpdir(), 'docs-'));
  try {
    mkdirSync(join(home, '.cache'));
    const cache = join(home, '.cache', 'nephos');
    if (blocks.some(({ code }) => /^\s*nephos /m.test(code))) await makeCache(cache);
    else symlinkSync(CACHE, cache);
    mkdirSync(join(home, 'tmp'));
    prepare?.(home);
    const script = join(home, 'blocks.sh');
    const code = blocks.map((one) => `echo '# ${one.file}:${one.line}'\n${one.code}`).join('\n');
    writeFileSync(script, code.replaceAll('/tmp/', `${home}/tmp/`));
    return await runIsolated(script, home, registry);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Cache of the user who runs the tests. */
const CACHE = dirname(dirname(KERNEL));

/** Makes a cache whose images and snapshots the commands of `nephos` may remove. It has the boot files of the user's cache. */
async function makeCache(cache: string): Promise<void> {
  mkdirSync(cache, { mode: 0o700 });
  symlinkSync(join(CACHE, 'guest'), join(cache, 'guest'));
  await guestTools();
  copyGuestTools(cache);
}

function runIsolated(script: string, home: string, registry?: DocumentRegistry): Promise<DocumentRun> {
  const isolate = ['--net', '--pid', '--fork', '--kill-child', '--mount', '--mount-proc'];
  const { start: services = '', env = {} } = registry ?? {};
  const start = `ip link set lo up\n${services}\nexec bash -eo pipefail "$0"`;
  const child = spawn(
    'timeout',
    ['-k', '5', String(LIMIT_S), 'unshare', ...isolate, 'bash', '-ec', start, script],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...env,
        NEPHOS_CACHE: '',
        XDG_CACHE_HOME: '',
        XDG_STATE_HOME: '',
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
