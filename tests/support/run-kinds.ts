/** Kinds of images, and the streams and exit codes that commands must have in each. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { INITRAMFS } from './guest.ts';
import type { TestHome } from './nephos.ts';
import { makeOciImage } from './oci-image.ts';
import { makeBusyboxTree } from './tools-guest.ts';
import { guestTools } from '../../src/run/guest-tools/guest-tools.ts';

/** A kind of image: the words of `nephos run` that name one. */
export interface ImageKind {
  readonly name: string;
  readonly words: readonly string[];
  /** a file that cannot be executed */
  readonly notExecutable: string;
}

/** Makes an image of each kind that runs with the guest tools. */
export async function toolsKinds(folder: string): Promise<readonly ImageKind[]> {
  const tree = join(folder, 'tree');
  makeBusyboxTree(tree, { 'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n' });
  const { kernel } = await guestTools();
  return [
    { name: 'an OCI image', words: [makeOciImage(join(folder, 'image'))], notExecutable: '/etc/passwd' },
    { name: 'a directory', words: [tree], notExecutable: '/etc/passwd' },
    { name: 'a kernel alone', words: ['--kernel', kernel], notExecutable: '/proc/version' },
    {
      name: 'a kernel with an initramfs',
      words: ['--kernel', kernel, '--initramfs', INITRAMFS, '-w', '/'],
      notExecutable: '/proc/version',
    },
  ];
}

/** Signals with a name in SSH, and without: OpenSSH does not report the number of those. */
const [NAMED, UNNAMED] = [
  [1, 2, 6, 9, 11, 15],
  [7, 24, 31, 40],
];

/** End of a command: a script, and the exit code of nephos. */
export type CommandEnd = readonly [script: string, code: number];

/** Exit codes that commands must have. */
const CODES = [0, 1, 42, 255];

/** Returns ends of commands by codes and by signals. */
function endsOf(codes: readonly number[], signals: readonly number[]): readonly CommandEnd[] {
  return [
    ...codes.map((code) => [`exit ${code}`, code] as const),
    ...signals.map((signal) => [`kill -${signal} $$`, 128 + signal] as const),
  ];
}

/** Ends of the commands of runs, each in a VM of its own. */
export const MAIN_ENDS = endsOf(CODES, [
  constants.signals.SIGINT,
  constants.signals.SIGKILL,
  constants.signals.SIGTERM,
]);

/** Sizes of streams, in bytes. */
export interface StreamSizes {
  readonly output: number;
  readonly input: number;
}

/** A VM to check. */
export interface CheckedKind extends Omit<ImageKind, 'name'> {
  readonly sizes: StreamSizes;
  /** Its SSH server is OpenSSH; dropbear by default */
  readonly isOpenSsh?: boolean;
  /** End of the run's own command */
  readonly end: CommandEnd;
}

/** Command of a run: says that it is ready, and ends by a script that is copied into the guest. */
const MAIN = `echo ready; until [ -e /tmp/end ]; do sleep 0.2; done; . /tmp/end`;

/** Name of the VM. */
const NAME = 'one';

/** Checks exit codes and streams of commands in a VM, and the exit code of its run. */
export async function checkKind(t: TestContext, home: TestHome, kind: CheckedKind): Promise<void> {
  const run = home.start('run', '--rm', '--name', NAME, ...kind.words, '--', 'sh', '-c', MAIN);
  const stderr = buffer(run.stderr);
  assert.equal(await firstOf(run.stdout, stderr), 'ready\n');
  const rest = buffer(run.stdout);
  await checkCommands(t, home, kind);
  const [script, code] = kind.end;
  await t.test(`a run ends as its command: ${script}`, async () => {
    const closed = once(run, 'close');
    const line = `echo '${script}' >/tmp/new && mv /tmp/new /tmp/end`;
    // the VM may end before this command has exited
    await home.nephos('exec', NAME, 'sh', '-c', line);
    assert.deepEqual(await closed, [code, null]);
    assert.deepEqual([await rest, await stderr], [Buffer.alloc(0), Buffer.alloc(0)]);
  });
}

/** Checks the exit codes of runs, each of a VM of its own. */
export async function checkMainEnds(home: TestHome, words: readonly string[]): Promise<void> {
  for (const [script, code] of MAIN_ENDS) {
    const result = await home.nephos(
      'run',
      '--rm',
      ...words,
      '--',
      'sh',
      '-c',
      `echo out; echo err >&2; ${script}`,
    );
    assert.deepEqual(result, { code, stdout: 'out\n', stderr: 'err\n' }, script);
  }
}

/** Returns the first output of a command. @throws with its errors */
async function firstOf(stdout: Readable, stderr: Promise<Buffer>): Promise<string> {
  const found = await Promise.race([once(stdout, 'data'), once(stdout, 'end')]);
  const [bytes]: readonly unknown[] = found;
  if (bytes instanceof Buffer) return bytes.toString();
  throw new Error(`the run has ended: ${(await stderr).toString()}`);
}

async function checkCommands(t: TestContext, home: TestHome, kind: CheckedKind): Promise<void> {
  const exec = (...command: string[]) => home.nephos('exec', NAME, ...command);
  await t.test('exit codes are those of the commands, 128 and the number of a signal', async () => {
    const signals = kind.isOpenSsh === true ? NAMED : [...NAMED, ...UNNAMED];
    for (const [script, code] of endsOf(CODES, signals)) {
      const result = await exec('sh', '-c', script);
      assert.deepEqual(result, { code, stdout: '', stderr: '' }, script);
    }
    assert.equal((await exec(kind.notExecutable)).code, 126);
    assert.equal((await exec('no-such-program')).code, 127);
  });
  await t.test('outputs stay apart, without bytes of a terminal', async () => {
    const result = await exec(
      'sh',
      '-c',
      String.raw`printf 'a\nb\r\004\023'; printf 'c\377d\n' >&2; tty >&2`,
    );
    assert.deepEqual(result, { code: 1, stdout: 'a\nb\r\x04\x13', stderr: 'c\ufffdd\nnot a tty\n' });
  });
  await t.test(`${kind.sizes.output >> 20} MiB of output arrive unchanged`, async () => {
    const blocks = kind.sizes.output / BLOCK_BYTES;
    const found = await hashOutput(home, ['exec', NAME, 'sh', '-c', outputScript(blocks)]);
    assert.deepEqual(found, { digest: outputDigest(blocks), code: 0 });
  });
  await t.test(`${kind.sizes.input >> 20} MiB of binary input arrive unchanged`, async () => {
    const input = randomBytes(kind.sizes.input);
    const { stdout } = await home.nephosWith(input, 'exec', '-i', NAME, 'md5sum');
    assert.equal(stdout.slice(0, 32), createHash('md5').update(input).digest('hex'));
  });
}

/** Output: a line with its number before each block of lines. Programs that write lines one by one need more time than SSH. */
const [BLOCK_BYTES, LINE] = [2 ** 20, '0123456789abcde\n'];

function outputScript(blocks: number): string {
  const block = `yes ${LINE.trim()} | head -c ${BLOCK_BYTES} >/tmp/block`;
  return `${block}; i=0; while [ $i -lt ${blocks} ]; do echo $i; cat /tmp/block; i=$((i+1)); done`;
}

function outputDigest(blocks: number): string {
  const block = Buffer.alloc(BLOCK_BYTES, LINE);
  const hash = createHash('md5');
  for (let i = 0; i < blocks; i++) hash.update(`${i}\n`).update(block);
  return hash.digest('hex');
}

/** Runs a verb without keeping its output. */
async function hashOutput(
  home: TestHome,
  words: readonly string[],
): Promise<{ readonly digest: string; readonly code: number | null }> {
  const child = home.start(...words);
  const hash = createHash('md5');
  child.stdout.on('data', (part: Buffer) => void hash.update(part));
  const [stderr] = await Promise.all([buffer(child.stderr), once(child, 'close')]);
  assert.equal(stderr.toString(), '');
  return { digest: hash.digest('hex'), code: child.exitCode };
}
