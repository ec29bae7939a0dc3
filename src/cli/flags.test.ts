import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Flag } from './flag.ts';
import { parseFlags, UsageError } from './flags.ts';

const FLAGS: readonly Flag[] = [
  { name: 'kernel', takes: 'one', doc: '' },
  { name: 'rng', takes: 'one', doc: '', fallback: 'src=/dev/urandom' },
  { name: 'disk', takes: 'many', doc: '' },
  { name: 'watchdog', takes: 'none', doc: '' },
  { name: 'verbose', short: 'v', takes: 'none', doc: '' },
];
const parse = (...argv: string[]) => parseFlags(FLAGS, argv);

test('values follow a flag or its equals sign, several values follow one flag or repeat it', () => {
  const flags = parse(
    '--kernel=/a=b',
    '--disk',
    'path=a',
    'path=b',
    '-v',
    '--disk',
    'path=c',
    '--watchdog',
    '-vv',
  );
  assert.deepEqual(flags.values('kernel'), ['/a=b']);
  assert.deepEqual(flags.values('disk'), ['path=a', 'path=b', 'path=c']);
  assert.equal(flags.count('watchdog'), 1);
  assert.equal(flags.count('verbose'), 3);
  assert.deepEqual(flags.values('rng'), []);
});

test('the value of a flag with a default may be left out, and an empty value is a value', () => {
  assert.deepEqual(parse('--rng').values('rng'), ['src=/dev/urandom']);
  assert.deepEqual(parse('--disk', '', '-v').values('disk'), ['']);
});

test('a usage error is one line that names the argument', () => {
  const refused: readonly (readonly [string[], RegExp])[] = [
    [['--foo'], /argument '--foo' which wasn't expected/],
    [['word'], /argument 'word' which wasn't expected/],
    [['-x'], /argument '-x'/],
    [['--kernel'], /'--kernel <kernel>' requires a value/],
    [['--kernel', '-v'], /'--kernel <kernel>' requires a value/],
    [['--kernel', 'a', '--kernel', 'b'], /'--kernel <kernel>' was provided more than once/],
    [['--kernel', 'a', 'b'], /argument 'b' which wasn't expected/],
    [['--watchdog=on'], /'--watchdog' takes no value/],
  ];
  for (const [argv, message] of refused) {
    assert.throws(
      () => parse(...argv),
      (error) => error instanceof UsageError && message.test(error.message),
    );
  }
});

test('an unknown flag is reported with the flag that was probably intended', () => {
  const hints: readonly (readonly [string[], string | undefined])[] = [
    [['--kernal', 'k'], 'did you mean --kernel?'],
    [['--drive', 'd'], 'did you mean --disk?'],
    [['-kernel', 'k'], 'did you mean --kernel?'],
    [['disk'], 'did you mean --disk?'],
    [['--watchdog', 'on'], '--watchdog takes no value'],
    [['--kernel', 'a', 'b'], '--kernel takes one value'],
    [['--frobnicate'], undefined],
  ];
  for (const [argv, hint] of hints) {
    assert.throws(
      () => parse(...argv),
      (error) => error instanceof UsageError && error.hint === hint,
      argv.join(' '),
    );
  }
});
