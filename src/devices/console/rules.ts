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

/** Checks a serial port: a console that no port of virtio-serial can replace. */
export function checkSerial(config: ConsoleConfig, context: RuleContext): void {
  checkConsole(config, context);
  if (config.port !== undefined)
    context.report(`${context.place}.port`, 'only the virtio console can be a port');
}
