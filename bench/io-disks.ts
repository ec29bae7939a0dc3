import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { putProgram } from '../tests/support/vsock.ts';
import {
  CLOCK,
  compare,
  PAIRS,
  report,
  SECONDS,
  startNephos,
  startQemu,
  type Figures,
  type Guest,
  type Sides,
} from './io-guests.ts';

const DISK_MIB = 256;
const FORMATS = ['raw', 'qcow2'] as const;
const KIB = 1024;

interface Work {
  readonly name: string;
  readonly mode: 'read' | 'write';
  readonly order: 'sequential' | 'random';
  /** size of a request, in `bytes` */
  readonly size: number;
}

const WORKS: readonly Work[] = [
  { name: 'sequential read, MiB/s', mode: 'read', order: 'sequential', size: KIB * KIB },
  { name: 'sequential write, MiB/s', mode: 'write', order: 'sequential', size: KIB * KIB },
  { name: '4 KiB random read, /s', mode: 'read', order: 'random', size: 4 * KIB },
  { name: '4 KiB random write, /s', mode: 'write', order: 'random', size: 4 * KIB },
];

/** Uses O_RDWR and O_DIRECT, with a page-aligned buffer. Prints requests per second. */
const PROGRAM = `${CLOCK}
my ($path, $mode, $order, $size, $count) = @ARGV;
sysopen(F, $path, 0x4002) or die "$path: $!";
my $b = "\\1" x ($size + 8192);
my $o = (4096 - unpack("J", pack("p", $b)) % 4096) % 4096;
srand(7);
my ($n, $at, $start, $end) = (0, 0, now());
do {
  $at = $order eq 'random' ? int(rand($count)) : $n % $count;
  sysseek(F, $at * $size, 0);
  ($mode eq 'read' ? sysread(F, $b, $size, $o) : syswrite(F, $b, $size, $o)) == $size or die "$mode: $!";
  $n++;
} until ($n % 8 == 0 && ($end = now()) - $start >= ${SECONDS});
print $n / ($end - $start), "\\n";
`;

interface Side {
  readonly guest: Guest;
  readonly program: string;
}

/** Measures sequential and random reads and writes, raw and qcow2, without the guest's page cache, with that of the host. */
export function measureDisks(rounds: number): Promise<void> {
  return measureAll(rounds, (images) => startNephos({ disks: images.map((path) => ({ path })) }));
}

/** Measures QEMU beside QEMU. */
export function nullDisks(rounds: number): Promise<void> {
  return measureAll(rounds, (images) => startQemu(qemuDisks(images)));
}

async function measureAll(
  rounds: number,
  startOurs: (images: readonly string[]) => Promise<Guest>,
): Promise<void> {
  const figures: Figures = new Map();
  for (let pair = 0; pair < PAIRS; pair++) {
    const folder = mkdtempSync(join(tmpdir(), 'nephos-bench-'));
    try {
      // the order in which guests allocate memory changes as well
      const makers = [
        () => startOurs(makeImages(folder, 'ours')),
        () => startQemu(qemuDisks(makeImages(folder, 'theirs'))),
      ] as const;
      await using first = await makers[pair % 2 === 0 ? 0 : 1]();
      await using second = await makers[pair % 2 === 0 ? 1 : 0]();
      const sides = [await withProgram(first), await withProgram(second)] as const;
      await measurePair(pair % 2 === 0 ? sides : [sides[1], sides[0]], rounds / PAIRS, figures);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  report(figures);
}

async function measurePair(sides: Sides<Side>, rounds: number, figures: Figures): Promise<void> {
  for (const [i, format] of FORMATS.entries()) {
    for (const work of WORKS) {
      const measure = (side: Side): Promise<number> => perSecond(side, `/dev/vd${'ab'[i]}`, work);
      await compare(sides, measure, { figures, name: `${format}: ${work.name}`, rounds });
    }
  }
}

async function withProgram(guest: Guest): Promise<Side> {
  await guest.shell.run('until [ -b /dev/vdb ]; do :; done');
  return { guest, program: await putProgram(guest.shell, 'disk', PROGRAM) };
}

async function perSecond({ guest, program }: Side, disk: string, work: Work): Promise<number> {
  const { mode, order, size } = work;
  const count = (DISK_MIB * KIB * KIB) / size;
  const shown = await guest.shell.run(`perl ${program} ${disk} ${mode} ${order} ${size} ${count}`);
  if (!/^[\d.]+$/.test(shown)) throw new Error(`${disk}: ${shown}`);
  return Number(shown);
}

/** Creates images with all blocks allocated: first writes are not measured. */
function makeImages(folder: string, side: string): string[] {
  return FORMATS.map((format) => {
    const path = join(folder, `${side}.${format}`);
    const options = ['-f', format, '-o', 'preallocation=full'];
    execFileSync('qemu-img', ['create', '-q', ...options, path, `${DISK_MIB}M`]);
    return path;
  });
}

/** Cache and I/O as in Nephos: the page cache, with io_uring. */
function qemuDisks(images: readonly string[]): string[] {
  return images.flatMap((path, i) => [
    ...['-drive', `id=d${i},file=${path},format=${FORMATS[i]},if=none,cache=writeback,aio=io_uring`],
    ...['-device', `virtio-blk-pci,drive=d${i},disable-legacy=on,num-queues=1,queue-size=128`],
  ]);
}
