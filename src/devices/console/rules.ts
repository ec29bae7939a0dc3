import type { RuleContext } from '../common/rules.ts';
import { FILE_MISSING, SOCKET_MISSING, type ConsoleConfig } from './config.ts';

/** Members of a serial port, a virtio console or a debug console that its rules use. */
type ConsolePaths = Pick<ConsoleConfig, 'mode' | 'file'> & Partial<Pick<ConsoleConfig, 'socket'>>;

/** Checks that a console in mode `File` or `Socket` has a path. */
export function checkConsole(
  { mode, file = '', socket = '' }: ConsolePaths,
  { place, report }: RuleContext,
): void {
  if (mode === 'File' && file === '') report(`${place}.file`, FILE_MISSING);
  if (mode === 'Socket' && socket === '') report(`${place}.socket`, SOCKET_MISSING);
}
