import type { Verb } from '../verb.ts';
import { FORMAT } from './vm-verbs.ts';

/** Verbs for images. */
export const IMAGE_VERBS: readonly Verb[] = [
  {
    name: 'images',
    usage: '[OPTIONS]',
    summary: 'List the images in the store',
    flags: [{ name: 'quiet', short: 'q', takes: 'none', doc: 'Print names only' }, FORMAT],
    examples: [{ command: 'nephos images', shows: 'list images with their sizes' }],
    operands: [0, 0],
    load: () => import('../verbs/images.ts'),
  },
  {
    name: 'pull',
    usage: '[OPTIONS] IMAGE...',
    summary: 'Fetch images from their registries',
    flags: [
      { name: 'platform', takes: 'one', doc: 'Platform of the image', syntax: 'linux/amd64|linux/arm64' },
      { name: 'quiet', short: 'q', takes: 'none', doc: 'Show no progress' },
    ],
    examples: [{ command: 'nephos pull alpine:3.20', shows: 'fetch an image, so that runs start at once' }],
    operands: [1, Infinity],
    load: () => import('../verbs/pull.ts'),
  },
  {
    name: 'rmi',
    usage: '[OPTIONS] IMAGE...',
    summary: 'Remove images from the store',
    flags: [
      { name: 'force', short: 'f', takes: 'none', doc: 'Also remove the name of an image that a VM uses' },
    ],
    examples: [{ command: 'nephos rmi alpine:3.20', shows: 'remove an image' }],
    operands: [1, Infinity],
    completes: '<image>',
    load: () => import('../verbs/rmi.ts'),
  },
  {
    name: 'prune',
    usage: '[OPTIONS]',
    summary: 'Remove ended VMs, unused layers and warm snapshots',
    details: [
      'VMs that have exited or crashed are removed, with their logs and disks. Running VMs stay.',
      'No question is asked. --force is accepted because docker has it.',
    ],
    flags: [
      { name: 'all', short: 'a', takes: 'none', doc: 'Also remove all images' },
      { name: 'force', short: 'f', takes: 'none', doc: 'No effect: there is no question' },
    ],
    examples: [{ command: 'nephos prune', shows: 'free disk space' }],
    operands: [0, 0],
    load: () => import('../verbs/prune.ts'),
  },
];
