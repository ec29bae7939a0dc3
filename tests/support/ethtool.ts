import type { Shell } from './shell.ts';

/** A feature of a guest's network as `ethtool -k` names it, e.g. `rx-gro-hw`. */
interface Feature {
  readonly dev: string;
  readonly feature: string;
}

/**
 * ethtool in perl: finds the number of a feature by its name (ETHTOOL_GSTRINGS), and sets and reads its
 * bit (ETHTOOL_SFEATURES, ETHTOOL_GFEATURES).
 */
const PROGRAM = String.raw`
my ($dev, $name, $state) = @ARGV;
socket(my $s, 2, 2, 0) or die "socket: $!";
sub ask { ioctl($s, 0x8946, pack("a16 P", $dev, $_[0])) or die "ethtool: $!"; $_[0] }
my $count = unpack("x16 L", ask(pack("L L Q L", 0x37, 0, 1 << 4, 0)));
my $names = ask(pack("L L L", 0x1b, 4, $count) . ("\0" x (32 * $count)));
my ($bit) = grep { unpack("Z32", substr($names, 12 + 32 * $_, 32)) eq $name } 0 .. $count - 1;
defined $bit or die "no feature $name";
my $words = int(($count + 31) / 32);
my $mask = 1 << ($bit % 32);
my @pairs = map { $_ == int($bit / 32) ? ($mask, $state eq "on" ? $mask : 0) : (0, 0) } 0 .. $words - 1;
ask(pack("L L L*", 0x3b, $words, @pairs));
my @all = unpack("L*", ask(pack("L L", 0x3a, $words) . ("\0" x (16 * $words))));
print $all[2 + 4 * int($bit / 32) + 2] & $mask ? "on" : "off";
`;

/** Switches a feature on or off and returns the state that it then has. The guest needs the tests' tools. */
export async function switchFeature(
  shell: Shell,
  { dev, feature, state }: Feature & { readonly state: 'on' | 'off' },
): Promise<string> {
  // a terminal's line is short
  await shell.run('rm -f /tmp/feature');
  for (const line of PROGRAM.trim().split('\n'))
    await shell.run(`cat >>/tmp/feature <<'END'\n${line}\nEND\n:`);
  return shell.run(`perl /tmp/feature ${dev} ${feature} ${state} 2>&1`);
}
