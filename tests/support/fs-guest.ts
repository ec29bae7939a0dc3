/** Programs of a guest that use a shared directory: one that holds files open, and one that writes files and their checksums. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Shell } from './shell.ts';

/** Files in the directory `many`: more than one READDIR returns. */
export const MANY = 300;

/** Result of a read of a file that is gone on the host: ESTALE or ENOENT. */
export const GONE = /^error (116|2)$/;

/** Mount point in the guest. */
export const MOUNT = '/mnt';

/** Makes a shared directory for {@link holdFiles}. */
export function makeShare(folder: string, name = 'share, "é"'): string {
  const share = join(folder, name);
  mkdirSync(join(share, 'many'), { recursive: true });
  mkdirSync(join(share, 'deep', 'working'), { recursive: true });
  for (let i = 0; i < MANY; i++) writeFileSync(join(share, 'many', `file${i}`), `${i}`);
  writeFileSync(join(share, 'deep', 'working', 'here'), 'text of here');
  for (const name of ['open', 'deleted', 'replaced', 'renamed'])
    writeFileSync(join(share, name), `text of ${name}`);
  return share;
}

/**
 * Program that opens files and waits for a command in /tmp/go. Then it writes a line for each file: its name, and the content or the
 * error of a read.
 */
const HOLDER = String.raw`
chdir "${MOUNT}/deep/working" or die;
opendir(my $many, "${MOUNT}/many") or die; my %seen; $seen{readdir $many}++ for 1..20;
my %open; for my $name (qw(open deleted replaced renamed)) { open($open{$name}, "+<", "${MOUNT}/$name") or die "$name $!" }
sysread $open{open}, my $start, 5;
open($open{unlinked}, "+>", "${MOUNT}/unlinked") or die; syswrite $open{unlinked}, "text of unlinked"; unlink "${MOUNT}/unlinked" or die;
sub ready { open(my $f, ">", "/tmp/$_[0].tmp"); print $f $_[1]; close $f; rename "/tmp/$_[0].tmp", "/tmp/$_[0]" }
ready("holding", "");
for (;;) {
  select undef, undef, undef, 0.05 until -e "/tmp/go";
  unlink "/tmp/go";
  my $lines = "";
  for my $name (sort keys %open) {
    my $error; sysseek($open{$name}, 0, 0); my $count = sysread $open{$name}, my $bytes, 100;
    $lines .= "$name " . (defined $count ? $bytes : 'error ' . ($! + 0)) . "\n";
  }
  $seen{$_}++ while defined($_ = readdir $many);
  my @twice = grep { $seen{$_} > 1 } keys %seen;
  $lines .= "many " . scalar(keys %seen) . " " . scalar(@twice) . "\n";
  open(my $here, "<", "here"); $lines .= "here " . (defined $here ? <$here> : "$!") . "\n";
  $lines .= "write " . (sysseek($open{open}, 100, 0) && syswrite($open{open}, "written") || "$!") . "\n";
  ready("held", $lines);
}
`;

/** Mounts the file system with a tag and starts the program that holds files open: needs a guest with tools. */
export async function holdFiles(shell: Shell, tag: string, mountOptions = ''): Promise<void> {
  await shell.run(`mount -t virtiofs ${mountOptions} ${tag} ${MOUNT}`);
  const text = Buffer.from(HOLDER).toString('base64');
  // a line of a terminal has at most 4095 bytes
  for (const part of text.match(/.{1,2000}/g) ?? []) await shell.run(`printf %s ${part} >> /tmp/holder.64`);
  await shell.run('base64 -d /tmp/holder.64 > /tmp/holder');
  await inBackground(shell, 'perl /tmp/holder > /tmp/holder.log 2>&1');
  const log = await shell.run(
    'until [ -e /tmp/holding ] || [ -s /tmp/holder.log ]; do sleep 0.1; done; cat /tmp/holder.log',
  );
  assert.equal(log, '', 'the program could not open its files');
}

/** Reads all that the program holds. @returns the lines of its answer by their first words */
export async function readHeld(shell: Shell): Promise<Readonly<Record<string, string>>> {
  const text = await shell.run(
    'rm -f /tmp/held; touch /tmp/go; until [ -e /tmp/held ]; do sleep 0.1; done; cat /tmp/held; cat /tmp/holder.log',
  );
  return Object.fromEntries(
    text.split('\n').map((line): [string, string] => {
      const at = line.indexOf(' ');
      return [line.slice(0, at), line.slice(at + 1).replaceAll('\0', '')];
    }),
  );
}

/** Runs a command in the guest that outlives its shell's jobs. */
export async function inBackground(shell: Shell, command: string): Promise<void> {
  await shell.run(`(setsid sh -c '${command}' < /dev/null > /dev/null 2>&1 &)`);
}

/**
 * Starts a writer in the guest, below the directory `written`: files of several sizes with random content, some of them renamed,
 * rewritten or removed. Each is recorded in the guest's /tmp/sums and, through one open file, in the directory's `log`.
 */
export async function startWriter(shell: Shell): Promise<void> {
  const script = [
    `mkdir -p ${MOUNT}/written; cd ${MOUNT}/written; exec 5>>log; i=0`,
    'while [ ! -e /tmp/stop ]; do i=$((i+1))',
    'head -c $((i % 7 * 30011 + 1)) /dev/urandom > /tmp/x',
    'cp /tmp/x f$i || echo "cp $i" >> /tmp/errors',
    'if [ $((i % 5)) = 0 ]; then mv f$i d$i || echo "mv $i" >> /tmp/errors; mv d$i f$i; fi',
    'if [ $((i % 3)) = 0 ]; then dd if=/tmp/x of=f$((i-1)) conv=notrunc bs=1000 count=1 seek=2 2>/dev/null; fi',
    'm=$(md5sum < f$i); n=$(md5sum < /tmp/x); [ "$m" = "$n" ] || echo "read $i" >> /tmp/errors',
    'for k in $i $((i-1)); do [ -e f$k ] && echo "f$k $(md5sum < f$k)"; done > /tmp/line',
    'cat /tmp/line >> /tmp/sums; cat /tmp/line >&5 || echo "log $i" >> /tmp/errors; done; touch /tmp/stopped',
  ].join('\n');
  const text = Buffer.from(script).toString('base64');
  await shell.run(`echo ${text} | base64 -d > /tmp/writer`);
  await inBackground(shell, 'sh /tmp/writer');
  await hasWritten(shell, 5);
}

/** Waits until the writer has written more files. */
export async function hasWritten(shell: Shell, more: number): Promise<void> {
  await shell.run(
    `n=$(wc -l < /tmp/sums 2>/dev/null || echo 0); until [ "$(wc -l < /tmp/sums 2>/dev/null || echo 0)" -ge $((n + ${more})) ]; do sleep 0.1; done`,
  );
}

/** Stops the writer and compares all files of the directory on the host with the checksums in the guest. @returns the number of files */
export async function checkWritten(shell: Shell, share: string): Promise<number> {
  await shell.run('touch /tmp/stop; until [ -e /tmp/stopped ]; do sleep 0.1; done; sync');
  assert.equal(await shell.run('cat /tmp/errors 2>/dev/null; true'), '', 'operations of the guest failed');
  const sums = await shell.run('cat /tmp/sums | sed "s/  -$//"', 120_000);
  const folder = join(share, 'written');
  const log = readFileSync(join(folder, 'log'), 'latin1')
    .replaceAll(/ {2}-$/gm, '')
    .trimEnd();
  assert.equal(log, sums, 'the log in the directory differs from the log in the guest');
  // of a file that was rewritten the last line counts
  const last = new Map(sums.split('\n').map((line) => line.split(' ') as [string, string]));
  for (const [name, sum] of last) assert.equal(md5Of(join(folder, name)), sum, `${name} has other bytes`);
  const names = readdirSync(folder).filter((name) => name !== 'log');
  assert.deepEqual(names.toSorted(), [...last.keys()].toSorted());
  return names.length;
}

function md5Of(path: string): string {
  assert.ok(existsSync(path), `${path} is missing`);
  return createHash('md5').update(readFileSync(path)).digest('hex');
}
