import assert from 'node:assert/strict';
import { test } from 'node:test';
import { programHelp, verbHelp } from './help.ts';
import { suggestName, suggestVerb } from './suggest.ts';
import { VERB_GROUPS, VERBS } from './table/verbs.ts';

/** Longest line: that of a terminal of 100 columns, but for an example. */
const LONGEST = 100;

test('the help of the program names each verb, and no hidden one', () => {
  const text = programHelp(VERB_GROUPS);
  for (const { name, summary, isHidden } of VERBS)
    assert.equal(text.includes(`  ${name.padEnd(14)}${summary}\n`), !isHidden, name);
});

test('the help of a verb has its usage, examples and flags in lines of 100 columns', () => {
  for (const verb of VERBS) {
    const text = verbHelp(verb);
    assert.ok(text.startsWith(`Usage: nephos ${verb.name}`));
    for (const { command } of verb.examples) assert.ok(text.includes(`  ${command}\n`), command);
    for (const { name, doc } of verb.flags) {
      assert.ok(text.includes(`--${name}`), name);
      assert.ok(text.replaceAll(/\s+/g, ' ').includes(doc), doc);
    }
    for (const line of text.split('\n')) assert.ok(line.length <= LONGEST, line);
  }
});

test('a mistyped verb, and a verb of another program, lead to a verb', () => {
  const known = VERBS.map(({ name }) => name);
  for (const [typed, verb] of [
    ['rnu', 'run'],
    ['PS', 'ps'],
    ['ls', 'ps'],
    ['lst', 'ps'],
    ['shutdown', 'stop'],
    ['docter', 'doctor'],
    ['--run', 'run'],
    ['zzzzzz', undefined],
    ['constructor', undefined],
  ] as const)
    assert.equal(suggestVerb(typed, known), verb, typed);
});

test('hints lead to verbs that exist', () => {
  const known = VERBS.map(({ name }) => name);
  for (const typed of ['ls', 'delete', 'top', 'shutdown', 'start'])
    assert.ok(known.includes(suggestVerb(typed, known) ?? ''), typed);
});

test('an unknown name leads to the nearest one, or to the list', () => {
  assert.equal(suggestName('wbe', ['db', 'web'], 'nephos ps -a'), 'did you mean web?');
  assert.equal(suggestName('x', ['web'], 'nephos ps -a'), 'nephos ps -a shows them');
  assert.equal(suggestName('x', [], 'nephos ps -a'), 'nephos ps -a shows none');
});
