/** Programs of a guest whose data must be consistent at each moment: blocks in RAM, blocks of a file, a database. */

/** Size of a block, in bytes. */
const BLOCK_BYTES = 4096;

/** Number of blocks of each program: 16 MiB of RAM, 8 MiB of a file. */
const BLOCKS = { memory: 4096, file: 2048 } as const;

/*
 * Each block of generation g holds g and the number of the block, repeated. Before a block is written again it is compared with what it
 * must hold. A page of another moment is therefore found, by the program itself, in the running VM and in a restored one.
 * A program writes its generation into `<name>.pass` and the first difference into `<name>.bad`.
 */
const COMMON = String.raw`
$| = 1;
my $bytes = ${BLOCK_BYTES};
sub block { my ($g, $i) = @_; return pack('N2', $g, $i) x ($bytes / 8); }
sub note { my ($path, $text) = @_; open(my $f, '>', $path) or die; print $f $text; close($f); }
sub differs { my ($name, $i, $g) = @_; note("/run/$name.bad", "block $i is not of generation $g\n"); exit 1; }
`;

const MEMORY = String.raw`${COMMON}
my $n = ${BLOCKS.memory};
my @m = map { block(0, $_) } 0 .. $n - 1;
for (my $g = 1; ; $g++) {
  for my $i (0 .. $n - 1) {
    differs('memory', $i, $g - 1) if $m[$i] ne block($g - 1, $i);
    $m[$i] = block($g, $i);
  }
  note('/run/memory.pass', "$g\n");
}
`;

const FILE = String.raw`${COMMON}
my ($path, $n) = ($ARGV[0], ${BLOCKS.file});
open(my $f, '+>', $path) or die;
binmode($f);
syswrite($f, block(0, $_)) for 0 .. $n - 1;
for (my $g = 1; ; $g++) {
  for my $i (0 .. $n - 1) {
    sysseek($f, $i * $bytes, 0);
    sysread($f, my $had, $bytes);
    differs('file', $i, $g - 1) if $had ne block($g - 1, $i);
    sysseek($f, $i * $bytes, 0);
    syswrite($f, block($g, $i)) == $bytes or differs('file', $i, $g);
    # fsync
    syscall(74, fileno($f)) == 0 or differs('file', $i, $g) if $i % 256 == 0;
  }
  note('/run/file.pass', "$g\n");
}
`;

/** Commits transactions that add to two tables, in a database with a write-ahead log; prints SQL for sqlite3. */
const TRANSACTIONS = String.raw`
$| = 1;
print "pragma journal_mode = wal; pragma synchronous = normal;\n";
print "create table item (id integer primary key, body text); create table total (items integer, bytes integer);\n";
print "insert into total values (0, 0);\n";
for (my $i = 1; ; $i++) {
  my $length = 100 + $i * 37 % 900;
  print "begin; insert into item (body) values (substr(hex(randomblob(500)), 1, $length)); ",
    "update total set items = items + 1, bytes = bytes + $length; commit;\n";
}
`;

/** SQL that prints `ok` and `1` for a whole database. */
export const DATABASE_CHECK =
  'pragma integrity_check; select (select count(*) || sum(length(body)) from item) = (select items || bytes from total);';

/** Programs by the names of their files. */
export const PROGRAMS: Readonly<Record<string, string>> = {
  'memory.pl': MEMORY,
  'file.pl': FILE,
  'transactions.pl': TRANSACTIONS,
};
