// Model of many VMs, on a host and on many hosts: `npm run bench -- scale model` prints the tables of docs/scale.md.
//
// Inputs are means of 124 idle clones, those of the CPU of 10 clones: more of them had to share a busy CPU (`npm run bench -- scale 10 100`).
// A new measurement replaces them. Outputs grow linearly, as the measured values did from 10 clones on. Limits are those of Linux
// and systemd, as Debian has them.

/** Use of one idle, emulated clone with one vCPU, 256 MiB of RAM, and a serial port in the mode Pty. */
export const MEASURED = {
  /** pages of the VMM alone, and of QEMU alone, in MiB */
  vmmMib: 10.9,
  qemuMib: 13.1,
  /** page tables, kernel stacks and slab, in MiB */
  kernelMib: 1.7,
  /** programs, libraries and the touched pages of one snapshot, which all clones share, in MiB */
  sharedMib: 72,
  processes: 2,
  threads: 19,
  /** of VMM and QEMU */
  descriptors: 45,
  /** of the program that started the VM with the SDK */
  ownerDescriptors: 5,
  /** of a core, in percent */
  idlePercent: 0.25,
  /** processor time of a start, VMM and QEMU, in milliseconds */
  startMs: 160,
  /** processor time of a vm.info in the VMM, in milliseconds */
  infoMs: 1,
} as const;

/** Time between two vm.info for each VM, in seconds. */
const POLL_SECONDS = 10;

/** Written RAM of a guest at work, in MiB: an example. */
const WORK_MIB = 256;

const HOST_SIZES = [10, 100, 1000, 10_000] as const;
const HOSTS = 1000;

type Table = readonly (readonly string[])[];

/** Returns the use of one host by the number of its VMs. */
export function hostTable(): Table {
  const rows = HOST_SIZES.map((count) => {
    const idle = memoryMib(count);
    return [
      number(count),
      gib(idle),
      gib(idle + count * WORK_MIB),
      number(count * MEASURED.processes),
      number(count * MEASURED.threads),
      number(count * MEASURED.descriptors),
      cores((count * MEASURED.idlePercent) / 100),
      cores((count * MEASURED.infoMs) / 1000 / POLL_SECONDS),
      seconds((count * MEASURED.startMs) / 1000),
    ];
  });
  return [
    [
      'VMs',
      'memory, idle',
      `each has written ${WORK_MIB} MiB`,
      'processes',
      'threads',
      'descriptors',
      'CPU, idle',
      `CPU, vm.info each ${POLL_SECONDS} s`,
      'CPU of all starts',
    ],
    ...rows,
  ];
}

/** Returns the use of many hosts by the number of VMs on each. */
export function fleetTable(): Table {
  const rows = HOST_SIZES.map((count) => {
    const all = count * HOSTS;
    return [
      number(count),
      number(all),
      tib(memoryMib(count) * HOSTS),
      `${number(all / POLL_SECONDS)}/s`,
      `${number(count / POLL_SECONDS)}/s`,
      number(all),
    ];
  });
  return [
    ['VMs on each', 'VMs', 'memory, idle', `vm.info each ${POLL_SECONDS} s`, 'on each host', 'event streams'],
    ...rows,
  ];
}

/** A limit of Linux or systemd. */
interface Limit {
  readonly name: string;
  readonly value: number;
  /** use by one VM */
  readonly each: number;
  readonly cure: string;
}

const LIMITS: readonly Limit[] = [
  {
    name: 'descriptors of the program that starts VMs with the SDK (`ulimit -n`)',
    value: 1024,
    each: MEASURED.ownerDescriptors,
    cure: '`LimitNOFILE=` of its service, or several programs',
  },
  {
    name: 'tasks of a service (`DefaultTasksMax`, 15 % of the next line)',
    value: 4915,
    each: MEASURED.threads,
    cure: '`TasksMax=infinity`',
  },
  { name: '`kernel.pid_max` of small systems', value: 32_768, each: MEASURED.threads, cure: '4194304' },
  {
    name: 'neighbours of a network (`gc_thresh3`)',
    value: 1024,
    each: 1,
    cure: '`net.ipv4.neigh.default.gc_thresh3`',
  },
  { name: 'ports of a Linux bridge', value: 1023, each: 1, cure: 'several bridges, or routed TAPs' },
  {
    name: 'pseudo-terminals (`kernel.pty.max`)',
    value: 4096,
    each: 1,
    cure: 'serial port in the mode `Socket`, `File` or `Null`',
  },
  {
    name: 'free ports for forwards of one address',
    value: 28_232,
    each: 1,
    cure: '`net.ipv4.ip_local_port_range`, or more addresses',
  },
];

/** Returns the limits in the order in which a growing number of VMs reaches them. */
export function limitsTable(): Table {
  const rows = LIMITS.map((limit) => ({ ...limit, reached: Math.floor(limit.value / limit.each) }))
    .toSorted((a, b) => a.reached - b.reached)
    .map(({ name, value, each, reached, cure }) => [
      name,
      number(value),
      number(each),
      number(reached),
      cure,
    ]);
  return [['limit', 'default', 'of each VM', 'VMs', 'cure'], ...rows];
}

function memoryMib(count: number): number {
  const { vmmMib, qemuMib, kernelMib, sharedMib } = MEASURED;
  return sharedMib + count * (vmmMib + qemuMib + kernelMib);
}

/** Tables of docs/scale.md, by the names of their places there. */
export const TABLES: Readonly<Record<string, () => Table>> = {
  host: hostTable,
  fleet: fleetTable,
  limits: limitsTable,
};

/** Renders a table as Markdown. */
export function render(table: Table): string {
  const [head = [], ...rows] = table.map((cells) => `| ${cells.join(' | ')} |`);
  const line = `|${'---|'.repeat(table[0]?.length ?? 0)}`;
  return [head, line, ...rows].join('\n');
}

/** Replaces the tables of a document. */
export function withTables(document: string): string {
  return document.replace(
    /(<!-- scale: (\w+) -->\n)[^]*?(\n<!-- end -->)/g,
    (_, start: string, name: string, end: string) => {
      const table = TABLES[name];
      if (table === undefined) throw new Error(`there is no table ${name}`);
      return `${start}\n${render(table())}\n${end}`;
    },
  );
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function gib(mib: number): string {
  return `${number(Number((mib / 1024).toPrecision(2)))} GiB`;
}

function tib(mib: number): string {
  return `${number(Number((mib / 2 ** 20).toPrecision(2)))} TiB`;
}

function cores(value: number): string {
  return value === 1 ? '1 core' : `${Number(value.toPrecision(2))} cores`;
}

function seconds(value: number): string {
  return `${number(Number(value.toPrecision(2)))} s`;
}
