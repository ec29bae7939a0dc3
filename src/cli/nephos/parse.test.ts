import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../flags.ts';
import { parseLine } from './parse.ts';
import { findVerb, VERBS } from './table/verbs.ts';
import type { CommandLine, Verb } from './verb.ts';

function verb(name: string): Verb {
  const found = findVerb(name);
  assert.ok(found);
  return found;
}

function parse(text: string): CommandLine {
  const [name = '', ...words] = text.split(' ').filter(Boolean);
  return parseLine(verb(name), words);
}

function refused(text: string): UsageError {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof UsageError);
    return error;
  }
  throw new Error(`${text} was accepted`);
}

for (const [line, operands, command] of [
  ['run alpine', ['alpine'], []],
  ['run alpine true', ['alpine'], ['true']],
  ['run alpine -- true', ['alpine'], ['true']],
  ['run alpine -- -x -- y', ['alpine'], ['-x', '--', 'y']],
  ['run alpine sh -c x --rm', ['alpine'], ['sh', '-c', 'x', '--rm']],
  ['run --rm -- alpine true', ['alpine'], ['true']],
  ['run --kernel k -- ./test.sh -v', [], ['./test.sh', '-v']],
  ['run --kernel k', [], []],
  ['run --kernel=k dir -- true', ['dir'], ['true']],
] as const) {
  test(`"nephos ${line}": image [${operands.join()}], command [${command.join(' ')}]`, () => {
    const parsed = parse(line);
    assert.deepEqual([parsed.operands, parsed.command], [operands, command]);
  });
}

test('letters are joined, and the last may have its value joined or behind it', () => {
  const joined = parse('run -itw/src -eA=1 -e B -p=1:2 alpine');
  assert.deepEqual(
    [joined.has('interactive'), joined.has('tty'), joined.value('workdir'), joined.values('env')],
    [true, true, '/src', ['A=1', 'B']],
  );
  assert.deepEqual(joined.values('publish'), ['1:2']);
});

test('a value follows its flag or an equals sign, and may start with a dash', () => {
  assert.equal(parse('run --name=a=b x').value('name'), 'a=b');
  assert.equal(parse('run --name -- x').value('name'), '--');
  assert.equal(parse('run --name= x').value('name'), '');
});

test('of a flag with one value the last applies, and a switch can be revoked', () => {
  const line = parse('run --name a --name b --rm --rm=false x');
  assert.deepEqual([line.value('name'), line.has('rm'), line.has('tty')], ['b', false, false]);
});

test('flags may follow the operands of a verb without a command', () => {
  const line = parse('rm web -f db');
  assert.deepEqual([line.operands, line.has('force')], [['web', 'db'], true]);
  assert.deepEqual(parse('rm -- -f').operands, ['-f']);
});

test('help is shown also where operands are missing', () => {
  assert.equal(parse('rm --help').has('help'), true);
  assert.equal(parse('run -h').has('help'), true);
});

for (const [line, hint] of [
  ['run --memroy 1G x', 'did you mean --memory?'],
  ['run --mem 1G x', 'did you mean --memory?'],
  ['run --port 80:80 x', 'did you mean --publish?'],
  ['ps --al', 'did you mean --all?'],
  ['rm --fore x', 'did you mean --force?'],
] as const) {
  test(`"nephos ${line}" is refused: ${hint}`, () => assert.equal(refused(line).hint, hint));
}

for (const line of [
  'run --name',
  'run -e',
  'run --rm=x a',
  'ps x',
  'rm',
  'snapshot a',
  'run -iz x',
  'ps --zzzzzz',
]) {
  test(`"nephos ${line}" is refused`, () => {
    assert.match(refused(line).message, /^nephos \w+|^--/);
  });
}

test('names and letters of flags are unique in each verb', () => {
  for (const { name, flags } of VERBS) {
    const spellings = flags.flatMap((flag) => [flag.name, flag.short ?? []]).flat();
    assert.equal(new Set([...spellings, 'help']).size, spellings.length + 1, name);
  }
});

test('each verb has examples that its parser accepts', () => {
  assert.equal(new Set(VERBS.map(({ name }) => name)).size, VERBS.length);
  for (const { name, examples } of VERBS) {
    assert.ok(examples.length > 0, name);
    for (const { command } of examples) {
      const outer = command.replace(/(?<=^nephos.*)\$\([^)]*\)/g, 'x');
      const [, own, rest = ''] = /(?:^|[ (=])nephos ([a-z-]+)((?:"[^"]*"|[^|>&)"])*)/.exec(outer) ?? [];
      assert.ok(own, command);
      const words = rest.match(/"[^"]*"|\$\([^)]*\)|[^\s"]+/g) ?? [];
      parseLine(verb(own), words);
    }
  }
});
