import { RUN_EXIT } from '../../../run/run-request.ts';
import type { Verb } from '../verb.ts';
import { INTERACTIVE, RUN_FLAGS, TTY } from './run-flags.ts';

/** Verbs for commands and files in a guest. */
export const GUEST_VERBS: readonly Verb[] = [
  {
    name: 'run',
    usage: '[OPTIONS] IMAGE [--] [COMMAND] [ARG...]',
    summary: 'Run a command in a fresh VM',
    details: [
      'IMAGE is a reference to a registry (alpine:3.20), oci:DIR[:TAG], docker-archive:FILE[:TAG], a disk image, or a directory with a root file system. With --kernel the image may be absent: nephos run --kernel FILE -- COMMAND.',
      'Options precede IMAGE. All words after it are the command; without a command the image’s own runs.',
      'The exit code is that of the command; 124: the time limit expired; 125: Nephos failed; 126: the guest crashed, or the command cannot be executed; 127: the command was not found; 128+N: signal N ended it.',
    ],
    flags: RUN_FLAGS,
    examples: [
      { command: 'nephos run --rm alpine:3.20 -- uname -a', shows: 'run a command, then remove the VM' },
      { command: 'nephos run -it --rm debian:13 -- bash', shows: 'work in a terminal' },
      {
        command: 'nephos run --rm -v "$PWD":/src -w /src node:22 -- npm test',
        shows: 'run the tests of a directory of the host',
      },
      { command: 'nephos run -d --name web -p 8080:80 nginx', shows: 'start a service that stays' },
      { command: 'tar c . | nephos run -i --rm alpine -- tar t', shows: 'pass standard input' },
      {
        command: 'nephos run --rm --kernel arch/x86/boot/bzImage -- ./test.sh',
        shows: 'test a kernel, in the current directory',
      },
    ],
    operands: [0, 1],
    hasCommand: true,
    completes: '<image>',
    failure: RUN_EXIT.failed,
    load: () => import('../verbs/run.ts'),
  },
  {
    name: 'exec',
    usage: '[OPTIONS] NAME [--] COMMAND [ARG...]',
    summary: 'Run a further command in a VM',
    details: ['Options precede NAME. The exit codes are those of nephos run.'],
    flags: [
      INTERACTIVE,
      TTY,
      {
        name: 'env',
        short: 'e',
        takes: 'many',
        doc: 'Variable; without a value that of the host',
        syntax: 'NAME[=VALUE]',
      },
      { name: 'workdir', short: 'w', takes: 'one', doc: 'Working directory', syntax: 'DIR' },
      { name: 'user', short: 'u', takes: 'one', doc: 'User of the guest', syntax: 'NAME|UID[:GROUP]' },
      { name: 'timeout', takes: 'one', doc: 'Time limit, e.g. 30s, 5m', syntax: 'TIME' },
    ],
    examples: [
      { command: 'nephos exec web -- nginx -t', shows: 'run a command' },
      { command: 'nephos exec -it web sh', shows: 'open a shell' },
      { command: 'nephos exec -i web -- sh -c "cat > /tmp/x" < x', shows: 'pass standard input' },
    ],
    operands: [1, 1],
    hasCommand: true,
    completes: '<vm>',
    failure: RUN_EXIT.failed,
    load: () => import('../verbs/exec.ts'),
  },
  {
    name: 'cp',
    usage: 'NAME:PATH DEST | SOURCE NAME:PATH',
    summary: 'Copy files and directories from or to a VM',
    details: [
      'A source that exists as a directory is copied with its content. If the destination is a directory, the copy gets the name of the source in it.',
      'The path - is a tar archive on a standard stream. For the VM it is unpacked in a directory that exists. From the VM its names begin with the last name of the path.',
    ],
    flags: [],
    examples: [
      { command: 'nephos cp site.conf web:/etc/nginx/conf.d/', shows: 'copy a file into the VM' },
      { command: 'nephos cp web:/var/log/nginx ./logs', shows: 'copy a directory from the VM' },
      { command: 'nephos cp web:/etc/os-release - | tar -xO', shows: 'print a file' },
      { command: 'git archive HEAD | nephos cp - web:/src', shows: 'copy a commit into the VM' },
    ],
    operands: [2, 2],
    completes: '<vm>:|<path>',
    load: () => import('../verbs/cp.ts'),
  },
  {
    name: 'logs',
    usage: '[OPTIONS] NAME',
    summary: 'Print the output of a VM’s command',
    details: [
      'Standard output and standard error of the command stay apart. The log is bounded: the oldest output is dropped.',
    ],
    flags: [
      { name: 'follow', short: 'f', takes: 'none', doc: 'Continue until the VM ends' },
      { name: 'tail', short: 'n', takes: 'one', doc: 'Start with the last lines', syntax: 'LINES' },
      { name: 'timestamps', takes: 'none', doc: 'Put the time before each line' },
      {
        name: 'serial',
        takes: 'none',
        doc: 'Print the serial port instead: messages of firmware and kernel',
      },
    ],
    examples: [
      { command: 'nephos logs web', shows: 'print all output' },
      { command: 'nephos logs -f --tail 20 web', shows: 'follow the output' },
      { command: 'nephos logs --serial web', shows: 'print the messages of the kernel' },
    ],
    operands: [1, 1],
    completes: '<vm>',
    load: () => import('../verbs/logs.ts'),
  },
  {
    name: 'console',
    usage: 'NAME',
    summary: 'Connect the terminal to the VM’s serial port',
    details: [
      'Ctrl-] disconnects. The VM continues. Several terminals can be connected: all see the output, and all may type. An operating system has a log-in there; for a shell in any image use nephos exec -it NAME sh.',
    ],
    flags: [],
    examples: [{ command: 'nephos console debian', shows: 'log in at the serial port' }],
    operands: [1, 1],
    completes: '<vm>',
    load: () => import('../verbs/console.ts'),
  },
  {
    name: 'ssh',
    usage: '[OPTIONS] NAME [COMMAND] [ARG...]',
    summary: 'Open a shell in a VM with the host’s ssh',
    details: ['Runs the program ssh with the settings that nephos ssh-config prints.'],
    flags: [
      { name: 'user', short: 'l', takes: 'one', doc: 'User of the guest', syntax: 'USER', fallback: 'root' },
    ],
    examples: [
      { command: 'nephos ssh web', shows: 'open a shell' },
      { command: 'nephos ssh web uptime', shows: 'run a command' },
    ],
    operands: [1, 1],
    hasCommand: true,
    completes: '<vm>',
    failure: 255,
    load: () => import('../verbs/ssh.ts'),
  },
  {
    name: 'ssh-config',
    usage: '[OPTIONS] NAME...',
    summary: 'Print settings for ssh, scp, rsync and VS Code',
    details: [
      'The settings work while the VM runs. Without network: ssh reaches the guest through nephos connect.',
    ],
    flags: [
      { name: 'user', short: 'l', takes: 'one', doc: 'User of the guest', syntax: 'USER', fallback: 'root' },
    ],
    examples: [
      { command: 'nephos ssh-config web >> ~/.ssh/config', shows: 'make `ssh web` work' },
      { command: 'nephos ssh-config web > web.conf && scp -F web.conf x web:/tmp/', shows: 'use them once' },
    ],
    operands: [1, Infinity],
    completes: '<vm>',
    load: () => import('../verbs/ssh-config.ts'),
  },
  {
    name: 'connect',
    usage: 'NAME [PORT]',
    summary: 'Connect standard input and output to a port of the guest',
    details: [
      'Port 22, the default, is its SSH server: nephos ssh-config prints this command as ProxyCommand.',
    ],
    flags: [],
    examples: [
      { command: 'ssh -o "ProxyCommand=nephos connect web" root@web', shows: 'reach the SSH server' },
    ],
    operands: [1, 2],
    completes: '<vm>',
    isHidden: true,
    load: () => import('../verbs/connect.ts'),
  },
  {
    name: 'own',
    usage: '',
    summary: 'Own the VM of a run in the background',
    details: [
      'nephos run --detach starts it, with the request on standard input and a channel on descriptor 3.',
    ],
    flags: [],
    examples: [{ command: 'nephos own', shows: 'run the request on standard input' }],
    operands: [0, 0],
    isHidden: true,
    load: () => import('../verbs/own.ts'),
  },
];
