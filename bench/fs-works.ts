import { CLOCK, SECONDS } from './io-guests.ts';

const MIB = 2 ** 20;

/** Size of the file for reads and writes. */
export const FILE_MIB = 128;

/** Files that a work creates, looks up and removes; files of the tree that `find` reads; its directories have 100 each. */
export const SMALL_FILES = 10_000;
export const TREE_FILES = 20_000;

/** Something that the guest does in a directory, as the program below knows it. */
export interface Work {
  readonly name: string;
  /** subroutine of {@link PROGRAM} */
  readonly run: string;
  /** minimum of the ratio of the speeds */
  readonly must: number;
  /** digits after the point of the figures */
  readonly digits?: number;
  /** needs more inodes than virtiofsd has file descriptors, by default and below usual limits */
  readonly hasManyInodes?: boolean;
  /** 1: Linux throttles the writer by the share of this mount in all dirty pages, as it does by default for FUSE; 0: it does not */
  readonly strictLimit?: 0 | 1;
}

/** Works in the order in which they run. The last three belong together. */
export const WORKS: readonly Work[] = [
  { name: 'sequential write, 1 MiB, MB/s', run: 'write 1048576 128', must: 0.9 },
  { name: 'sequential read, 1 MiB, cold, MB/s', run: 'read 1048576 128', must: 0.9 },
  { name: 'O_DIRECT read, 1 MiB, MB/s', run: 'direct 1048576', must: 0.9 },
  { name: '4 KiB random read, O_DIRECT, /s', run: 'random 4096', must: 0.9 },
  { name: '4 KiB buffered write, MB/s', run: 'write 4096 4096', must: 0.8, digits: 1 },
  { name: 'getattr, /s', run: 'getattr', must: 0.9 },
  { name: 'stat, cold, files/s', run: 'stat 2000', must: 0.9 },
  { name: 'open, read, close, files/s', run: 'open 1000', must: 0.9 },
  {
    name: `find over ${TREE_FILES} files, cold, files/s`,
    run: `find ${TREE_FILES}`,
    must: 1,
    hasManyInodes: true,
  },
  { name: `create ${SMALL_FILES} files, files/s`, run: `create ${SMALL_FILES}`, must: 0.9 },
  { name: `stat of ${SMALL_FILES} new files, cold, files/s`, run: `stat ${SMALL_FILES} small`, must: 0.9 },
  { name: `unlink ${SMALL_FILES} files, files/s`, run: `unlink ${SMALL_FILES}`, must: 0.9 },
];

/** 4 KiB writes that end in the page cache of the guest, and are written back before the clock stops. */
export const WRITEBACK: readonly Work[] = [
  {
    name: '4 KiB buffered write, cache=always, MB/s',
    run: 'write 4096 4096',
    must: 2,
    digits: 1,
    strictLimit: 1,
  },
  {
    name: '4 KiB buffered write, cache=always, strict_limit=0, MB/s',
    run: 'write 4096 4096',
    must: 2,
    digits: 1,
    strictLimit: 0,
  },
];

/**
 * Program in the guest: directory, work, its numbers. Prints MB/s or operations per second by the guest's clock. Caches of the
 * guest are dropped before a cold work.
 */
export const PROGRAM = `${CLOCK}
my ($dir, $work, @n) = @ARGV;
my $file = "$dir/file";
my $b = "\\1" x (${MIB} + 8192);
my $o = (4096 - unpack("J", pack("p", $b)) % 4096) % 4096;
sub drop { open(D, ">", "/proc/sys/vm/drop_caches") or die $!; print D $_[0]; close(D) or die $!; select(undef, undef, undef, 0.2) }
sub opened { sysopen(F, $file, $_[0]) or die "$file: $!" }
sub each_until { my ($do) = @_; my ($n, $start, $end) = (0, now()); do { $do->($n++) } until ($n % 8 == 0 && ($end = now()) - $start >= ${SECONDS}); $n / ($end - $start) }
sub timed { my ($count, $do) = @_; my $start = now(); $do->(); $count / (now() - $start) }
sub small { my $d = $_[1] // 'tree'; sprintf("$dir/$d/%03d/%02d", $_[0] / 100, $_[0] % 100) }
my %works = (
  write => sub { my ($size, $count) = @_; opened(2); timed($size * $count / 1e6, sub {
    for (1 .. $count) { syswrite(F, $b, $size) == $size or die "write: $!" }
    syscall(74, fileno(F)) == 0 or die "fsync: $!"; close(F) or die "close: $!" }) },
  read => sub { my ($size, $count) = @_; drop(1); opened(0); timed($size * $count / 1e6, sub {
    for (1 .. $count) { sysread(F, $b, $size) == $size or die "read: $!" } }) },
  direct => sub { my ($size) = @_; opened(0x4000); $size / 1e6 * each_until(sub {
    sysseek(F, $_[0] % ${FILE_MIB} * $size, 0); sysread(F, $b, $size, $o) == $size or die "read: $!" }) },
  random => sub { my ($size) = @_; srand(7); opened(0x4000); each_until(sub {
    sysseek(F, int(rand(${(FILE_MIB * MIB) / 4096})) * $size, 0); sysread(F, $b, $size, $o) == $size or die "read: $!" }) },
  # statx with AT_EMPTY_PATH and AT_STATX_FORCE_SYNC
  getattr => sub { opened(0); my ($empty, $to) = ('', "\\0" x 256);
    each_until(sub { syscall(332, fileno(F), $empty, 0x3000, 0x7ff, $to) == 0 or die "statx: $!" }) },
  stat => sub { my ($count, $d) = @_; drop(2); timed($count, sub {
    for (0 .. $count - 1) { lstat(small($_, $d)) or die "stat: $!" } }) },
  open => sub { my ($count) = @_; timed($count, sub {
    for (0 .. $count - 1) { open(F, '<', small($_)) or die "open: $!"; sysread(F, $b, 4096) or die "read: $!"; close(F) } }) },
  find => sub { my ($count) = @_; drop(2); timed($count, sub {
    my $found = \`busybox find $dir/tree -type f | wc -l\`; $found == $count or die "find: $found" }) },
  create => sub { my ($count) = @_; my $d = "$dir/small"; mkdir($d);
    for (0 .. $count / 100 - 1) { mkdir(sprintf("$d/%03d", $_)) or die "mkdir: $!" }
    timed($count, sub { for (0 .. $count - 1) {
      sysopen(F, small($_, 'small'), 0x41) or die "create: $!"; syswrite(F, $b, 100) == 100 or die "write: $!"; close(F) or die $! } }) },
  unlink => sub { my ($count) = @_; my $speed = timed($count, sub {
    for (0 .. $count - 1) { unlink(small($_, 'small')) or die "unlink: $!" } });
    for (0 .. $count / 100 - 1) { rmdir(sprintf("$dir/small/%03d", $_)) or die "rmdir: $!" } $speed },
);
print $works{$work}->(@n), "\\n";
`;
