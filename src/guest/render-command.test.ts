import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { array, assert as check, constantFrom, oneof, property, string } from 'fast-check';
import { quoteWord, renderCommand } from './render-command.ts';

/** Shells that are on this host. `csh` has other rules for quotes, and busybox has fewer built-in commands. */
const SHELLS = [['sh'], ['bash'], ['busybox', 'sh'], ['csh'], ['fish']].filter(([name = '', ...rest]) => {
  try {
    execFileSync(name, [...rest, '-c', 'exit 0']);
    return true;
  } catch {
    return false;
  }
});

const SPECIAL = `' " \\ ! $ \` \n \r \t * ? ~ # & | ; < > ( ) { } [ ] = % - ^ é`.split(' ').concat(' ');

/** Texts as users and attackers write them. */
const word = oneof(string({ unit: 'grapheme' }), string({ unit: constantFrom(...SPECIAL) })).filter(
  (text) => !text.includes('\0') && Buffer.from(text).toString() === text,
);

function run([name = '', ...rest]: readonly string[], text: string): string {
  return execFileSync(name, [...rest, '-c', text], { encoding: 'utf8' });
}

test('a quoted word is the same text again in a shell', () => {
  check(
    property(array(word, { maxLength: 4 }), (words) => {
      const shown = run(['sh'], `printf '%s\\0' ${['x', ...words].map(quoteWord).join(' ')}`);
      assert.deepEqual(shown.split('\0').slice(1, -1), words);
    }),
    { numRuns: 100 },
  );
});

for (const shell of SHELLS) {
  test(`a rendered command has its words and variables in ${shell.join(' ')}`, () => {
    check(
      property(array(word, { maxLength: 4 }), word, (words, value) => {
        const argv = ['sh', '-c', `printf '%s\\0' "$V" "$@"`, 'sh', ...words];
        const shown = run(shell, renderCommand({ argv, env: { V: value }, cwd: '/' }, false));
        assert.deepEqual(shown.split('\0').slice(0, -1), [value, ...words]);
      }),
      { numRuns: 40 },
    );
  });
}

test('the command leads a session', () => {
  const text = renderCommand(
    { argv: ['sh', '-c', 'read -r a b c d g s e </proc/$$/stat; echo $(($g - $$)) $(($s - $$))'] },
    false,
  );
  assert.equal(run(['sh'], text), '0 0\n');
});

test('NUL, empty commands and wrong names are refused', () => {
  for (const command of [
    { argv: ['a\0b'] },
    { argv: [] },
    { argv: ['a'], env: { 'A=B': '' } },
    { argv: ['a'], env: { '': '' } },
  ]) {
    assert.throws(() => renderCommand(command, false), { name: 'GuestError', fault: 'refused' });
  }
});

test('a user of the guest', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
  const show = 'echo $(id -u):$(id -g):$(id -G) $HOME $USER';
  for (const [user, shown] of [
    ['daemon', '1:1:1 /usr/sbin daemon'],
    ['1', '1:1:1 /usr/sbin daemon'],
    ['daemon:2', '1:2:2 /usr/sbin daemon'],
    ['12345:4321', '12345:4321:4321 / 12345'],
    ['12345', '12345:0:0 / 12345'],
  ] as const) {
    assert.equal(run(['sh'], renderCommand({ argv: show, user }, false)), `${shown}\n`);
  }
  assert.throws(() => run(['sh'], renderCommand({ argv: show, user: 'absent' }, false)), {
    status: 126,
    stderr: 'the guest has no user absent\n',
  });
});
