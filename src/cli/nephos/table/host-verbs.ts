import type { Verb } from '../verb.ts';
import { FORMAT } from './vm-verbs.ts';

/** Verbs for the machine. */
export const HOST_VERBS: readonly Verb[] = [
  {
    name: 'doctor',
    usage: '[OPTIONS]',
    summary: 'Check this machine: programs, accelerator, devices, disk space',
    details: [
      'Each problem is shown with its cure. The exit code is 1 if something is missing that nephos run needs.',
    ],
    flags: [FORMAT],
    examples: [
      { command: 'nephos doctor', shows: 'check the machine' },
      { command: 'nephos doctor --format json', shows: 'check it from a program' },
    ],
    operands: [0, 0],
    load: () => import('../verbs/doctor.ts'),
  },
  {
    name: 'setup',
    usage: '[OPTIONS]',
    summary: 'Prepare the kernel and the guest tools',
    details: ['Fetches packages of Debian with the machine’s apt sources. The first run does the same.'],
    flags: [{ name: 'refresh', takes: 'none', doc: 'Make them again from the newest packages' }],
    examples: [{ command: 'nephos setup', shows: 'prepare a machine, e.g. in the image of a CI runner' }],
    operands: [0, 0],
    load: () => import('../verbs/setup.ts'),
  },
  {
    name: 'completion',
    usage: 'SHELL',
    summary: 'Print the completion script of a shell',
    flags: [],
    examples: [
      { command: 'source <(nephos completion bash)', shows: 'bash' },
      { command: 'nephos completion zsh > "${fpath[1]}/_nephos"', shows: 'zsh' },
      { command: 'nephos completion fish > ~/.config/fish/completions/nephos.fish', shows: 'fish' },
    ],
    operands: [1, 1],
    completes: 'bash|zsh|fish',
    load: () => import('../verbs/completion.ts'),
  },
];
