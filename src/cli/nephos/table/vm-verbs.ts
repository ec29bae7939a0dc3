import type { Flag } from '../../flag.ts';
import type { Verb } from '../verb.ts';

/** Output as JSON for programs, or as text. */
export const FORMAT: Flag = {
  name: 'format',
  takes: 'one',
  doc: 'Form of the output',
  syntax: 'table|json',
  fallback: 'table',
};

/** Verbs for VMs. */
export const VM_VERBS: readonly Verb[] = [
  {
    name: 'ps',
    usage: '[OPTIONS]',
    summary: 'List VMs',
    details: ['Shows VMs that run; --all also those that have exited or crashed.'],
    flags: [
      { name: 'all', short: 'a', takes: 'none', doc: 'Also show exited and crashed VMs' },
      { name: 'quiet', short: 'q', takes: 'none', doc: 'Print names only' },
      {
        name: 'filter',
        short: 'f',
        takes: 'many',
        doc: 'Show VMs that match: a name (a part), state, label or image',
        syntax: 'name=TEXT|state=STATE|label=KEY[=VALUE]|image=TEXT',
      },
      FORMAT,
    ],
    examples: [
      { command: 'nephos ps -a', shows: 'list all VMs' },
      { command: 'nephos rm -f $(nephos ps -aq --filter label=job=42)', shows: 'remove the VMs of a job' },
      { command: 'nephos ps --format json', shows: 'list them for a program' },
    ],
    operands: [0, 0],
    load: () => import('../verbs/ps.ts'),
  },
  {
    name: 'inspect',
    usage: 'NAME...',
    summary: 'Print all facts about VMs as JSON',
    details: [
      'Prints the record, the state, the paths of the files and, for a running VM, its configuration.',
    ],
    flags: [],
    examples: [{ command: 'nephos inspect web', shows: 'print the record of a VM' }],
    operands: [1, Infinity],
    completes: '<vm>',
    load: () => import('../verbs/inspect.ts'),
  },
  {
    name: 'port',
    usage: 'NAME [GUEST[/PROTOCOL]]',
    summary: 'Print the published ports of a VM',
    flags: [],
    examples: [
      { command: 'nephos port web', shows: 'print all ports' },
      { command: 'curl "http://$(nephos port web 80)/"', shows: 'use a port that Nephos chose' },
    ],
    operands: [1, 2],
    completes: '<vm>',
    load: () => import('../verbs/port.ts'),
  },
  {
    name: 'stats',
    usage: '[OPTIONS] [NAME...]',
    summary: 'Show CPU, memory, disk and network use',
    details: [
      'Shows all running VMs by default, and renews the numbers each second on a terminal. Network figures are those of the guest, since its boot.',
    ],
    flags: [{ name: 'no-stream', takes: 'none', doc: 'Print the numbers once' }, FORMAT],
    examples: [
      { command: 'nephos stats', shows: 'watch all running VMs' },
      { command: 'nephos stats --no-stream --format json web', shows: 'measure one VM' },
    ],
    operands: [0, Infinity],
    completes: '<vm>',
    load: () => import('../verbs/stats.ts'),
  },
  {
    name: 'events',
    usage: '[OPTIONS] [NAME...]',
    summary: 'Print changes of VMs as they happen',
    details: ['Follows all VMs by default. Ctrl-C ends it.'],
    flags: [
      {
        name: 'format',
        takes: 'one',
        doc: 'Form of the output: JSON has one object a line',
        syntax: 'table|json',
        fallback: 'table',
      },
    ],
    examples: [{ command: 'nephos events --format json', shows: 'follow all VMs from a program' }],
    operands: [0, Infinity],
    completes: '<vm>',
    load: () => import('../verbs/events.ts'),
  },
  {
    name: 'stop',
    usage: '[OPTIONS] NAME...',
    summary: 'End the command and the VM in an orderly way',
    details: [
      'Sends TERM to the command. The VM ends with the command, at the latest when the time is over.',
    ],
    flags: [
      {
        name: 'time',
        short: 't',
        takes: 'one',
        doc: 'Time until the VM is killed',
        syntax: 'TIME',
        fallback: '10s',
      },
    ],
    examples: [
      { command: 'nephos stop web', shows: 'end a VM' },
      { command: 'nephos stop -t 60 db', shows: 'give it a minute' },
    ],
    operands: [1, Infinity],
    completes: '<vm>',
    load: () => import('../verbs/stop.ts'),
  },
  {
    name: 'kill',
    usage: '[OPTIONS] NAME...',
    summary: 'End VMs at once, or signal their commands',
    details: [
      'Without --signal the VM is killed, and its exit code is 137. With another signal the command in the guest gets it.',
      'SIGNAL is any signal of Linux: a name such as HUP, SIGHUP or RTMIN+1, or a number.',
    ],
    flags: [
      {
        name: 'signal',
        short: 's',
        takes: 'one',
        doc: 'Signal for the command',
        syntax: 'SIGNAL',
        fallback: 'KILL',
      },
    ],
    examples: [
      { command: 'nephos kill web', shows: 'kill a VM' },
      { command: 'nephos kill -s HUP web', shows: 'signal its command' },
    ],
    operands: [1, Infinity],
    completes: '<vm>',
    load: () => import('../verbs/kill.ts'),
  },
  {
    name: 'rm',
    usage: '[OPTIONS] NAME...',
    summary: 'Remove VMs that have exited or crashed',
    flags: [{ name: 'force', short: 'f', takes: 'none', doc: 'Kill a running VM first; ignore absent ones' }],
    examples: [
      { command: 'nephos rm web', shows: 'remove a VM' },
      { command: 'nephos rm -f web', shows: 'kill and remove it' },
    ],
    operands: [1, Infinity],
    completes: '<vm>',
    load: () => import('../verbs/rm.ts'),
  },
  {
    name: 'pause',
    usage: 'NAME...',
    summary: 'Pause VMs',
    flags: [],
    examples: [{ command: 'nephos pause web', shows: 'stop the vCPUs of a VM' }],
    operands: [1, Infinity],
    completes: '<vm>',
    load: () => import('../verbs/pause.ts'),
  },
  {
    name: 'resume',
    usage: 'NAME...',
    summary: 'Resume paused VMs',
    flags: [],
    examples: [{ command: 'nephos resume web', shows: 'continue a VM' }],
    operands: [1, Infinity],
    completes: '<vm>',
    load: () => import('../verbs/resume.ts'),
  },
  {
    name: 'snapshot',
    usage: '[OPTIONS] NAME DIR | compose DIR NEWDIR',
    summary: 'Take a snapshot of a VM',
    details: [
      'DIR must not exist. A VM that runs continues afterwards. It is paused until its RAM is written, or for some milliseconds where a live snapshot is possible: without a user network, volumes and a vsock. Disks are not part of it without --disks. cloud-hypervisor --restore source_url=file://DIR restores it.',
      'The form with compose and two directories makes a full snapshot of a differential one and its bases. It needs no VM.',
    ],
    flags: [
      {
        name: 'compose',
        takes: 'none',
        doc: 'Pause the VM only until the pages are written that differ from its last snapshot, then add all others',
      },
      { name: 'disks', takes: 'none', doc: 'Also copy the disks that the guest can write to into DIR' },
    ],
    examples: [
      { command: 'nephos snapshot web ./web-snapshot', shows: 'take a snapshot' },
      { command: 'nephos snapshot compose ./monday ./monday-full', shows: 'make one that needs no base' },
    ],
    operands: [2, 3],
    completes: '<vm>',
    load: () => import('../verbs/snapshot.ts'),
  },
  {
    name: 'clone',
    usage: 'NAME NEW',
    summary: 'Make a clone of a running VM',
    details: [
      'The clone continues with the processes and files of this moment. It has a host name, a machine-id, random numbers, host keys and ports of its own. Output of the command is not in its log.',
    ],
    flags: [],
    examples: [{ command: 'nephos clone web web2', shows: 'make a clone with the name web2' }],
    operands: [2, 2],
    completes: '<vm>',
    load: () => import('../verbs/clone.ts'),
  },
];
