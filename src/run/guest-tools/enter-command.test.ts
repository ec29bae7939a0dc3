import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { enterCommand, firstCommand, refreshCommand, renderSteps } from './enter-command.ts';
import { compileHelper } from '../../guest/helper/main.ts';

const PREFIX = 'exec /bin/enter ';
const folder = mkdtempSync(join(tmpdir(), 'enter-'));
const enter = join(folder, 'enter');
writeFileSync(enter, compileHelper(), { mode: 0o755 });
after(() => rmSync(folder, { recursive: true }));

/** Texts with all that a shell interprets. */
const special = ` '"\\$\`!*?~#;&|<>(){}[]\n\t=-%`.split('');
const word = fc.string({ unit: fc.constantFrom(...special, 'é', '€', '😀', 'ab', '1'), maxLength: 12 });
const wordList = fc.array(word, { maxLength: 8 });

const split = (output: Buffer): string[] => output.toString().split('\0').slice(0, -1);

test('a shell reads the words of a command as they were', () => {
  fc.assert(
    fc.property(wordList, (words) => {
      const text = renderSteps(words).slice(PREFIX.length);
      const printed = execFileSync('/bin/sh', ['-c', `for word in ${text}; do printf '%s\\0' "$word"; done`]);
      assert.deepEqual(split(printed), words);
    }),
    { numRuns: 60 },
  );
});

test('the helper reads them in the same way, without a shell', { skip: process.arch !== 'x64' }, () => {
  fc.assert(
    fc.property(wordList, (words) => {
      const text = renderSteps(['run', '-', '/', '', '0', '/usr/bin/printf', String.raw`%s\0`, ...words]);
      const printed = execFileSync(enter, ['-c', text], { env: { USER: 'nephos' } });
      assert.deepEqual(split(printed), words.length === 0 ? [''] : words);
    }),
    { numRuns: 60 },
  );
});

test('the helper prints a start mark with its process id', { skip: process.arch !== 'x64' }, () => {
  const text = `echo nephos-0af3 $$; ${renderSteps(['run', '-', '/', '', '0', '/bin/sh', '-c', 'echo $$'])}`;
  const printed = execFileSync(enter, ['-c', text], { env: { USER: 'nephos' } }).toString();
  const [, mark, pid] = /^nephos-0af3 (\d+)\n(\d+)\n$/.exec(printed) ?? [];
  assert.equal(mark, pid, printed);
});

test('a command has its flags, directory, user, variables and words', () => {
  const command = { argv: ['ls', '-l', 'a b'], cwd: '/srv', user: 'app:audio', env: { A: '1', B: 'x y' } };
  const rest = `/srv app:audio 2 A=1 'B=x y' ls -l 'a b'`;
  assert.equal(enterCommand(command, false), `${PREFIX}image run - ${rest}`);
  assert.equal(enterCommand(command, true), `${PREFIX}image run t ${rest}`);
  assert.equal(firstCommand(command, false), `${PREFIX}mark image run w ${rest}`);
  assert.equal(enterCommand({ argv: 'a | b' }, false), `${PREFIX}image run - / '' 0 /bin/sh -c 'a | b'`);
  assert.equal(enterCommand({ argv: [] }, false), `${PREFIX}image run - / '' 0`);
});

test('a refresh sets random numbers first, then clock, host name and machine id', () => {
  const refresh = {
    now: 1_700_000_000_250,
    entropy: Buffer.alloc(64, 7),
    hostname: 'box',
    machineId: 'f'.repeat(32),
  };
  const text = refreshCommand(refresh);
  assert.match(
    text,
    /^exec \/bin\/enter entropy (07){64} clock 1700000000 250000000 remove \S+ image hostname box /,
  );
  assert.match(text, /rewrite \/etc\/machine-id 'f{32}\n'$/);
  assert.match(firstCommand({ argv: ['id'] }, true, refresh), / image hostname box .* run tw \/ '' 0 id$/s);
});

test('a NUL is refused', () => {
  assert.throws(() => enterCommand({ argv: ['a\0b'] }, false), RangeError);
  assert.throws(() => enterCommand({ argv: ['a'], env: { A: '\0' } }, false), RangeError);
});
