/** Work on files in a shared directory that the guest does and the host checks; the guest needs perl. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { codeOf } from '../../src/util/errno.ts';
import { startVirtiofsd, type Backend } from './backends.ts';
import { allocatedBytes } from './images.ts';
import type { Shell } from './shell.ts';
import { putProgram } from './vsock.ts';

const KIB = 1024;
const GIB = 2 ** 30;

/** A directory of the host and its path in the guest. */
export interface Shared {
  readonly shell: Shell;
  /** path on the host */
  readonly host: string;
  /** path in the guest */
  readonly guest: string;
}

/** A member of `fs`, and its back-end if that is another process. */
export interface Share extends AsyncDisposable {
  readonly config: object;
}

/**
 * Shares a directory: by the VMM, or by virtiofsd with its socket in `folder` where NEPHOS_TEST_FS is `virtiofsd`, to compare
 * the two.
 */
export function shareOf(tag: string, directory: string, folder: string): Share {
  if (process.env['NEPHOS_TEST_FS'] !== 'virtiofsd')
    return { config: { tag, directory }, [Symbol.asyncDispose]: async () => undefined };
  return shareByVirtiofsd(tag, directory, folder);
}

/** Shares a directory by virtiofsd, with its socket in `folder`. It exits with the VM's boot, and is started again for the next one. */
export function shareByVirtiofsd(tag: string, directory: string, folder: string): Share {
  const socket = join(folder, `${tag}.sock`);
  // without a file descriptor for each inode, which usual limits do not allow
  const start = (): Backend => startVirtiofsd(socket, directory, '--xattr', '--inode-file-handles=prefer');
  let backend = start();
  const restart = (): void => {
    backend = start();
    backend.child.once('exit', restart);
  };
  backend.child.once('exit', restart);
  return {
    config: { tag, socket },
    [Symbol.asyncDispose]: () => {
      backend.child.off('exit', restart);
      return backend[Symbol.asyncDispose]();
    },
  };
}

/** Limit of one command of the guest, on a busy machine under emulation. */
const TIMEOUT_MS = 600_000;

/** Makes a directory of `count` files on the host. The guest must see each name once, and look each file up. */
export async function checkManyFiles({ shell, host, guest }: Shared, count: number): Promise<void> {
  mkdirSync(join(host, 'many'));
  for (let i = 0; i < count; i++) writeFileSync(join(host, 'many', `file-${i}`), '');
  assert.equal(await shell.run(`find ${guest}/many -type f | wc -l`, TIMEOUT_MS), String(count));
  assert.equal(await shell.run(`ls ${guest}/many | sort -u | grep -c '^file-'`, TIMEOUT_MS), String(count));
}

/** The guest writes at both ends of a file of 4 GiB. Its holes take no space on the host, and both sides see the data. */
export async function checkSparseFile({ shell, host, guest }: Shared): Promise<void> {
  const file = `${guest}/sparse`;
  const last = 4 * GIB - 5;
  const program = await putProgram(
    shell,
    'sparse',
    `my ($path) = @ARGV;
open(F, '+>', $path) or die "open: $!";
syswrite(F, 'first') == 5 or die "write: $!";
truncate(F, ${4 * GIB}) or die "truncate: $!";
sysseek(F, ${last}, 0); syswrite(F, 'final') == 5 or die "write: $!";
close(F) or die "close: $!";
open(F, '<', $path) or die "open: $!";
# SEEK_DATA from the middle, SEEK_HOLE from the start
my $data = sysseek(F, ${GIB}, 3); my $hole = sysseek(F, 0, 4);
sysseek(F, ${last}, 0); sysread(F, my $b, 100);
print -s $path, " $b ", $data > ${GIB} && $data <= ${last} ? 1 : 0, $hole > 0 && $hole < ${GIB} ? 1 : 0, "\\n";
`,
  );
  assert.equal(await shell.run(`perl ${program} ${file} 2>&1`), `${4 * GIB} final 11`);
  const path = join(host, 'sparse');
  assert.equal(statSync(path).size, 4 * GIB);
  assert.ok(allocatedBytes(path) < 1024 * KIB, `${allocatedBytes(path)} bytes are allocated`);
  assert.equal(await shell.run(`du -k ${file} | awk '{ print ($1 < 1024) }'; rm ${file}`), '1');
}

/**
 * The guest makes `count` random reads, writes, appends and truncations through two handles of a file, and compares each read with
 * its own copy, as fsx does. The host must see the same bytes.
 */
export async function checkRandomAccess({ shell, host, guest }: Shared, count: number): Promise<void> {
  const program = await putProgram(
    shell,
    'access',
    `my ($path, $count, $seed) = @ARGV;
my $model = '';
srand($seed);
open(A, '+>', $path) or die "open: $!"; open(B, '+<', $path) or die "open: $!";
for my $n (1 .. $count) {
  my $f = rand() < 0.5 ? \\*A : \\*B; my $what = int(rand(10));
  my $at = int(rand(300000)); my $size = 1 + int(rand(70000));
  if ($what < 4) {
    my $bytes = chr(1 + int(rand(255))) x $size;
    sysseek($f, $at, 0); syswrite($f, $bytes) == $size or die "$n: write: $!";
    $model .= "\\0" x ($at - length($model)) if length($model) < $at;
    substr($model, $at, $size) = $bytes;
  } elsif ($what < 8) {
    sysseek($f, $at, 0); my $b = ''; defined(sysread($f, $b, $size)) or die "$n: read: $!";
    my $should = $at < length($model) ? substr($model, $at, $size) : '';
    $b eq $should or die "$n: read of $size at $at gave other bytes\\n";
  } elsif ($what < 9) {
    truncate($f, $at) or die "$n: truncate: $!";
    $model = length($model) < $at ? $model . "\\0" x ($at - length($model)) : substr($model, 0, $at);
  } else {
    close($f) or die "$n: close: $!"; open($f, '+<', $path) or die "$n: open: $!";
  }
  -s $path == length($model) or die "$n: size\\n";
}
close(A) or die $!; close(B) or die $!;
open(M, '>', "$path.model") or die $!; print M $model; close(M) or die $!;
print "done\\n";
`,
  );
  assert.equal(await shell.run(`perl ${program} ${guest}/access ${count} 7 2>&1`, TIMEOUT_MS), 'done');
  const [file, model] = ['access', 'access.model'].map((name) => readFileSync(join(host, name)));
  assert.ok(file && model && model.length > 0);
  assert.equal(checksum(file), checksum(model));
}

function checksum(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * Host and guest rename the same files of two directories for `seconds`, each to names that are new. A file that was
 * renamed meanwhile gives ENOENT and nothing else. No file is lost, doubled or changed.
 */
export async function checkRenames({ shell, host, guest }: Shared, seconds: number): Promise<void> {
  const files = 40;
  const folders = ['left', 'right'];
  for (const folder of folders) mkdirSync(join(host, folder));
  for (let id = 0; id < files; id++) writeFileSync(join(host, 'left', `${id}.start`), `content ${id}`);
  const program = await putProgram(
    shell,
    'renames',
    `my ($dir, $seconds) = @ARGV; my ($n, $end) = (0, time() + $seconds);
while (time() < $end) {
  for my $folder ('left', 'right') {
    opendir(D, "$dir/$folder") or die "opendir: $!";
    for my $name (grep { /^\\d/ } readdir(D)) {
      my ($id) = $name =~ /^(\\d+)/; my $to = rand() < 0.5 ? 'left' : 'right';
      if (rename("$dir/$folder/$name", "$dir/$to/$id.guest" . $n++)) { next }
      # ENOENT
      $! == 2 or die "rename: $!";
    }
    closedir(D);
  }
}
print "renamed $n\\n";
`,
  );
  const guestRenames = shell.run(`perl ${program} ${guest} ${seconds} 2>&1`, TIMEOUT_MS);
  const guestSide = { isDone: false };
  const finished = guestRenames.finally(() => (guestSide.isDone = true));
  let renames = 0;
  while (!guestSide.isDone) {
    renames += renameAll(host, folders, renames);
    await turn();
  }
  assert.match(await finished, /^renamed [1-9]/);
  assert.ok(renames > 0);
  const left = folders.flatMap((folder) => readdirSync(join(host, folder)).map((name) => join(folder, name)));
  const ids = left.map((path) => Number(/\/(\d+)\./.exec(path)?.[1]));
  assert.deepEqual(
    ids.toSorted((a, b) => a - b),
    Array.from({ length: files }, (_, id) => id),
  );
  for (const [i, path] of left.entries())
    assert.equal(readFileSync(join(host, path), 'utf8'), `content ${ids[i]}`);
  await shell.run('sleep 1.1'); // names are cached for a second
  const seen = await shell.run(
    `cd ${guest}; for f in left/* right/*; do echo "$f $(cat $f)"; done; cd`,
    TIMEOUT_MS,
  );
  assert.deepEqual(
    seen.split('\n').toSorted(),
    left.map((path, i) => `${path} content ${ids[i]}`).toSorted(),
  );
}

/** Renames each file of the folders once; returns how many. */
function renameAll(host: string, folders: readonly string[], from: number): number {
  let renames = 0;
  for (const folder of folders) {
    for (const name of readdirSync(join(host, folder))) {
      const id = name.slice(0, name.indexOf('.'));
      const to = folders[(from + renames) % folders.length] ?? folder;
      try {
        renameSync(join(host, folder, name), join(host, to, `${id}.host${from + renames}`));
        renames++;
      } catch (error) {
        assert.equal(codeOf(error), 'ENOENT');
      }
    }
  }
  return renames;
}
