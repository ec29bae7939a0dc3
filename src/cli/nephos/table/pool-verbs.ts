import type { Verb } from '../verb.ts';
import { RUN_FLAGS } from './run-flags.ts';
import { FORMAT } from './vm-verbs.ts';

/** Flags of `nephos run` that shape a stand-by VM. */
const SHAPE = ['network', 'cpus', 'memory', 'platform', 'kernel', 'append', 'pull'];

/** Verbs for pools. */
export const POOL_VERBS: readonly Verb[] = [
  {
    name: 'pool',
    usage: 'start [OPTIONS] IMAGE | ls | stop [IMAGE...]',
    summary: 'Keep VMs ready for the next runs of an image',
    details: [
      'start keeps VMs of an OCI image ready, in the background. nephos run takes one where its image and the options below are the same. Each VM is used once, and another one replaces it.',
      'Runs with -t, -d, -v, -p, --name or --cold, and those that find no ready VM, start as usual.',
      'A pool ends after the time of --idle without a run, and with nephos pool stop. A ready VM uses the memory of the host; nephos ps shows it as stand-by.',
    ],
    flags: [
      { name: 'size', takes: 'one', doc: 'Number of VMs', syntax: 'N', fallback: '1' },
      {
        name: 'idle',
        takes: 'one',
        doc: 'Time without a run after which the pool ends',
        syntax: 'TIME',
        fallback: '10m',
      },
      ...RUN_FLAGS.filter(({ name }) => SHAPE.includes(name)),
      FORMAT,
    ],
    examples: [
      { command: 'nephos pool start --size 2 alpine:3.20', shows: 'keep two VMs ready' },
      { command: 'nephos run --rm alpine:3.20 -- true', shows: 'use one of them' },
      { command: 'nephos pool ls', shows: 'list the pools' },
      { command: 'nephos pool stop alpine:3.20', shows: 'end the pools of an image; without one, all' },
    ],
    operands: [1, Infinity],
    completes: 'start|ls|stop',
    load: () => import('../verbs/pool.ts'),
  },
  {
    name: 'own-pool',
    usage: '',
    summary: 'Keep the VMs of a pool',
    details: ['nephos pool start starts it, with the pool on standard input and a channel on descriptor 3.'],
    flags: [],
    examples: [{ command: 'nephos own-pool', shows: 'keep the pool on standard input' }],
    operands: [0, 0],
    isHidden: true,
    load: () => import('../verbs/own-pool.ts'),
  },
  {
    name: 'own-stand-by',
    usage: '',
    summary: 'Own a VM of a pool',
    details: [
      'The process of a pool starts it, with the request on standard input and a channel on descriptor 3.',
    ],
    flags: [],
    examples: [{ command: 'nephos own-stand-by', shows: 'start the VM of the request on standard input' }],
    operands: [0, 0],
    isHidden: true,
    load: () => import('../verbs/own-stand-by.ts'),
  },
];
