import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { debugConsole } from '../debug-console/index.ts';
import { serial } from '../serial/index.ts';
import { console } from './index.ts';

test('a console on a file needs its path', () => {
  const missing = 'Path missing when using file console mode';
  expectProblems(console, [
    ['none', { mode: 'File' }, [`console.file: ${missing}`]],
    ['an empty one', { mode: 'File', file: '' }, [`console.file: ${missing}`]],
    ['a path', { mode: 'File', file: '/f' }, []],
    ['another mode', { mode: 'Pty' }, []],
  ]);
  expectProblems(serial, [['none', { mode: 'File' }, [`serial.file: ${missing}`]]]);
  expectProblems(debugConsole, [['none', { mode: 'File' }, [`debug_console.file: ${missing}`]]]);
});

test('a console on a socket needs its path', () => {
  const missing = 'Path missing when using socket console mode';
  expectProblems(console, [
    ['none', { mode: 'Socket' }, [`console.socket: ${missing}`]],
    ['an empty one', { mode: 'Socket', socket: '' }, [`console.socket: ${missing}`]],
    ['a path', { mode: 'Socket', socket: '/s' }, []],
  ]);
  expectProblems(serial, [['none', { mode: 'Socket' }, [`serial.socket: ${missing}`]]]);
});

test('a serial port is no port of virtio-serial', () => {
  const json = { mode: 'Pty', port: 'a' };
  expectProblems(serial, [['a port', json, ['serial.port: only the virtio console can be a port']]]);
  expectProblems(console, [['a port', json, []]]);
});
