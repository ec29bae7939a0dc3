import { QUOTING_HELP } from '../schema/option-string.ts';
import { VMM_FLAGS } from './daemon-options.ts';
import type { Flag } from './flag.ts';
import { VM_FLAGS } from './vm-flags.ts';

const WIDTH = 100;

/** Returns the text of `cloud-hypervisor --help`. */
export function daemonHelp(): string {
  return [
    'Launch a cloud-hypervisor VMM.',
    '',
    'Usage: cloud-hypervisor [--api-socket <path>] [--kernel <path> [VM options]] [options]',
    '',
    'With --kernel or --firmware a VM boots at once. With --api-socket the VMM serves the API.',
    '',
    'Examples:',
    '  cloud-hypervisor --api-socket /tmp/ch.sock',
    '  cloud-hypervisor --kernel vmlinuz --initramfs initrd.gz --cmdline console=ttyS0 \\',
    '      --cpus boot=2 --memory size=1G --disk path=root.raw --serial tty --console off',
    '',
    'VM options:',
    ...VM_FLAGS.flatMap(describe),
    '',
    'Options:',
    ...VMM_FLAGS.flatMap(describe),
    '',
    ...wrap(
      `Several values may follow one flag: --disk path=a path=b. Sizes take K, M or G. ${QUOTING_HELP}`,
      0,
    ),
  ].join('\n');
}

function describe({ name, short, takes, doc, syntax = '', fallback }: Flag): string[] {
  const names = [`--${name}`, ...(short === undefined ? [] : [`-${short}`])].join(', ');
  const value = takes === 'none' ? '' : ` <${name}>${takes === 'many' ? '...' : ''}`;
  const byDefault = fallback === undefined || fallback === '' ? '' : ` [default: ${fallback}]`;
  return [`  ${names}${value}`, ...wrap(`${doc}${byDefault}`, 6), ...(syntax === '' ? [] : wrap(syntax, 6))];
}

/** Wraps a text at spaces and after commas. */
function wrap(text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const piece of text.match(/[^ ,]*(?:, ?| |$)/g) ?? []) {
    if (indent + line.length + piece.trimEnd().length > WIDTH) {
      lines.push(line);
      line = '';
    }
    line += piece;
  }
  return [...lines, line].map((one) => `${' '.repeat(indent)}${one.trimEnd()}`);
}
