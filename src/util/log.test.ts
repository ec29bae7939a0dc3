import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configureLog, createLog, logNotice } from './log.ts';

test('a notice is written at any level, other lines from their level on', () => {
  const lines: string[] = [];
  configureLog({ level: 'warn', write: (line) => void lines.push(line.replace(/^.*<vmm> /, '')) });
  try {
    const log = createLog('part');
    log.info('not shown');
    log.warn('shown');
    logNotice('part', 'a path, /dev/pts/3\nand no second line');
    assert.deepEqual(lines, [
      'WARN:part -- shown\n',
      'INFO:part -- a path, /dev/pts/3\\nand no second line\n',
    ]);
  } finally {
    configureLog({ level: 'warn', write: (line) => void process.stderr.write(line) });
  }
});
