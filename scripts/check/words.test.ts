import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderFinding } from './findings.ts';
import { findWords } from './words.ts';

/** Words that are found in a text, in its order. */
function wordsIn(path: string, text: string): string[] {
  return findWords({ path, text }).map(({ word }) => word);
}

const inComment = (text: string): string[] => wordsIn('src/a.ts', `// ${text}\n`);

/** A sentence for each word or phrase, in which it is what is found. */
const FORBIDDEN: readonly (readonly [sentence: string, found: string])[] = [
  ['The engine starts.', 'engine'],
  ['All engines start.', 'engines'],
  ['A flag of the original.', 'the original'],
  ["The original's client sends it.", 'The original'],
  ['The boot starts anew.', 'anew'],
  ['The file is read once more.', 'once more'],
  ['The fault is mended.', 'mended'],
  ['A socket that nobody reads.', 'nobody'],
  ['Nobody there: the guest sees a reset.', 'Nobody'],
  ['Asks somebody else.', 'somebody'],
  ['Wakes whoever polls it.', 'whoever'],
  ['Closed by those who opened it.', 'those who'],
  ['Events for an editor who watches.', 'who watches'],
  ['A thread of ours.', 'ours'],
  ['QEMU exits with us.', 'us'],
  ['A restored VM lives again.', 'lives again'],
  ['QEMU dies with the VMM.', 'dies'],
  ['The process is alive.', 'alive'],
  ['For the life of a VM.', 'life of'],
  ['DIMMs that were added in this life.', 'this life'],
  ['Turns in the life of a VM.', 'Turns in the life'],
  ['Counters until QEMU’s end.', 'QEMU’s end'],
  ['Waits for the end of the VMM.', 'the end of the VMM'],
  ['Closes the socket at its end.', 'at its end'],
  ['QEMU speaks vhost-user.', 'speaks'],
  ['A thread talks to QEMU.', 'talks to'],
  ['The VMM forgets the name.', 'forgets'],
  ['QEMU is told the address.', 'told'],
  ['QEMU’s words are in the log.', 'QEMU’s words'],
  ['The last words are in the log.', 'last words'],
  ['Waits in vain.', 'in vain'],
  ['There is no room in the queue.', 'room'],
  ['A descriptor is handed to QEMU.', 'handed to'],
  ['Hands over the descriptor.', 'Hands over'],
  ['The client comes back.', 'comes back'],
  ['The back-end goes away.', 'goes away'],
  ['The device is taken away.', 'taken away'],
  ['Takes the limits away.', 'Takes the limits away'],
  ['The page is given back.', 'given back'],
  ['Gives all of it back.', 'Gives all of it back'],
  ['The other side closes the connection.', 'The other side'],
  ['The memory is sent in a move.', 'a move'],
  ['Reads what was saved.', 'what was saved'],
  ['A like-start follows.', 'like-start'],
  ['Two saved-machine files.', 'saved-machine'],
  ['The process who opened it.', 'process who'],
  ["It is nobody's business.", 'nobody'],
  ['After its death.', 'death'],
  ['The VM is moving.', 'VM is moving'],
  ['Clocks here and there.', 'here and there'],
  ['The memory of a VM.', 'memory of a VM'],
  ['Whenever a device comes.', 'device comes'],
  ['The snapshot of a VM: the VM is saved.', 'VM is saved'],
  ['A list of what waits.', 'what waits'],
];

for (const [sentence, found] of FORBIDDEN) {
  test(`the word check finds "${found}"`, () => {
    assert.deepEqual(inComment(sentence), [found]);
    assert.deepEqual(wordsIn('docs/a.md', `${sentence}\n`), [found]);
    assert.deepEqual(wordsIn('scripts/a.sh', `#!/bin/sh\n# ${sentence}\ntrue\n`), [found]);
  });
}

test('the word check ignores plain technical English', () => {
  for (const sentence of [
    'The original error is the cause, and the original image stays.',
    'Runs as user nobody, and as `nobody`.',
    'A delay of 20 us.',
    'Emulated dies of a package, dies per package.',
    'A keep-alive connection.',
    'The lifetime of a VM, its lifecycle.',
    'Reads the stream to its end.',
    'Done by hand over QMP.',
    'The file `engine` and the key `room`.',
    'A V8 isolate of the JavaScript engine.',
    'The other end of the socket pair.',
    'Closes QEMU’s end of the socket pair.',
    'Where the host has no KVM, QEMU emulates the processor.',
    'Returns what the guest wrote.',
    'Does the guest answer? What does it answer?',
    'No one of the files is read.',
    'The layout of a US keyboard.',
    'A file in /tmp/nobody/a.',
    'The file is saved to disk, and its base address is read.',
    'Each device goes into its slot in turn.',
  ])
    assert.deepEqual(inComment(sentence), [], sentence);
});

test('the word check finds sentences that begin with a question word as a noun', () => {
  assert.deepEqual(inComment('What vm.create made.'), ['What']);
  assert.deepEqual(inComment('Closed here. How many there are is counted.'), ['How']);
  assert.deepEqual(inComment('what vm.create made'), ['what']);
  assert.deepEqual(wordsIn('src/a.ts', '/**\n * Adds one.\n * @returns whether it fits\n */\n'), ['whether']);
  assert.deepEqual(wordsIn('src/a.ts', '/** Where the list begins. */'), ['Where']);
  assert.deepEqual(wordsIn('docs/a.md', '# How to add a device\n\nWhat is used is closed.\n'), ['What']);
  assert.deepEqual(wordsIn('docs/a.md', '- Who connects gets it.\n'), ['Who']);
});

test('the word check finds titles of tests that begin with a question word', () => {
  assert.deepEqual(wordsIn('src/a.test.ts', "test('what a guest wrote is read', () => {});"), ['what']);
  assert.deepEqual(wordsIn('src/a.ts', "test('what a guest wrote is read', () => {});"), []);
});

test('the word check finds words in sentences of manual pages', () => {
  assert.deepEqual(wordsIn('man/a.1', '.SH NAME\nWhether it fits.\n.PP\nThe\nengine starts.\n'), [
    'Whether',
    'engine',
  ]);
});

test('the word check finds titles of each form of a test', () => {
  for (const form of ['test', 'test.skip', 'it', 'describe.only', 'context.test'])
    assert.deepEqual(wordsIn('src/a.test.ts', `${form}('how it ends', () => {});`), ['how'], form);
});

test('the word check finds names of the past', () => {
  const text = 'const likeStart = toSavedMachine(IN_FIRST_STEPS);';
  assert.deepEqual(wordsIn('src/a.ts', text), ['likeStart', 'toSavedMachine', 'IN_FIRST_STEPS']);
});

test('the word check finds words of strings and parts of identifiers', () => {
  assert.deepEqual(wordsIn('src/a.ts', "throw new Error('nobody listens');"), ['nobody']);
  assert.deepEqual(wordsIn('src/a.ts', "const user = 'nobody';"), []);
  assert.deepEqual(wordsIn('src/a.ts', "throw new Error('the engine exited');"), ['engine']);
  assert.deepEqual(wordsIn('src/a.ts', 'const engineUser = NOT_IN_ENGINE;'), ['engineUser', 'NOT_IN_ENGINE']);
  assert.deepEqual(wordsIn('src/a.ts', 'class EngineError extends Error {}'), ['EngineError']);
  assert.deepEqual(wordsIn('src/a.ts', 'const hasRoom = groom + ioengine;'), ['hasRoom']);
});

test('a phrase is found across the lines of a comment and of a paragraph', () => {
  assert.deepEqual(wordsIn('src/a.ts', '// A flag of the\n// original.\n'), ['the original']);
  assert.deepEqual(wordsIn('src/a.ts', '/**\n * A flag of the\n * original.\n */\n'), ['the original']);
  assert.deepEqual(wordsIn('docs/a.md', 'A flag of the\noriginal.\n'), ['the original']);
});

test('a finding names the file, the line, the column, the word and the replacement', () => {
  const [finding] = findWords({ path: 'src/a.ts', text: 'const a = 1; // a\n\n  // on the engine\n' });
  assert.ok(finding !== undefined);
  assert.equal(renderFinding(finding), 'src/a.ts:3:13: "engine": write QEMU');
});

test('saved keys and names of other projects are excepted', () => {
  assert.deepEqual(wordsIn('src/snapshot-files/manifest.ts', 'const a = { engine: v.string() };\n'), []);
  assert.deepEqual(wordsIn('src/snapshot-files/manifest.ts', '// the engine\n'), ['engine']);
  assert.deepEqual(wordsIn('package.json', '  "engines": {\n'), []);
});
