import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { getSystemErrorMap } from 'node:util';
import { documents, shellBlocks, tableRows } from '../../../tests/support/markdown.ts';

/** What tests/docs.test.ts leaves out, with the reason that the reader sees. */
const NOT_RUN: readonly (readonly [string, string])[] = [
  ['README.md', 'they would start themselves'],
  ['README.md', 'it needs a terminal to log in at'],
  ['docs/clients.md', 'it needs libvirt, whose driver asks for KVM'],
  ['docs/getting-started.md', 'it sets the machine up'],
  ['docs/getting-started.md', 'it needs a terminal to log in at'],
  ['docs/kubernetes.md', 'npm run test:kata runs them where Kata is installed'],
  ['docs/kubernetes.md', 'npm run test:kata runs them where Kata is installed'],
  ['docs/kubernetes.md', 'it builds Kata, which takes half an hour and its sources'],
  ['docs/networking.md', 'it needs a program that serves the socket'],
  ['docs/snapshots.md', 'it needs two VMMs on two hosts'],
];

test('every command in the documents is run, but for those that say why not', () => {
  const left = documents()
    .flatMap(shellBlocks)
    .flatMap(({ file, notRun }) => (notRun === undefined ? [] : [[file, notRun]]));
  assert.deepEqual(left, NOT_RUN);
});

test('commands are in blocks that the tests see', () => {
  for (const file of documents()) {
    const languages = [...readFileSync(file, 'utf8').matchAll(/^```(\w+)/gm)].map(([, language]) => language);
    for (const language of languages)
      assert.ok(['sh', 'ts', 'json', 'toml', 'xml'].includes(language ?? ''), `${file}: ${language}`);
  }
});

/** A path of the repository in a text: in one of its folders, or a document beside README.md. */
const REPOSITORY_PATH =
  /(?<![\w/.~-])(?:(?:src|tests|scripts|bench|examples|contract|build|dist|docs|man|bin|completions|\.ci)\/[\w./*-]+|[A-Z]+\.md)/g;

test('files that the documents of the npm package name are in the package', () => {
  const { files } = JSON.parse(readFileSync('package.json', 'utf8')) as { files: string[] };
  const isPacked = (path: string): boolean =>
    !files.includes(`!${path}`) && files.some((one) => path === one || path.startsWith(`${one}/`));
  const packed = [...documents(), ...readdirSync('man').map((name) => `man/${name}`)].filter(isPacked);
  assert.ok(packed.length > 10);
  const missing = packed.flatMap((document) =>
    [...readFileSync(document, 'utf8').matchAll(REPOSITORY_PATH)]
      .map(([path]) => path.replace(/[.,]$/, ''))
      .filter((path) => !isPacked(path) || (!path.includes('*') && !existsSync(path)))
      .map((path) => `${document}: ${path}`),
  );
  assert.deepEqual(missing, []);
});

test('links between the documents lead somewhere', () => {
  for (const file of documents()) {
    const folder = file.replace(/[^/]*$/, '');
    for (const [, target = ''] of readFileSync(file, 'utf8').matchAll(
      /\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g,
    ))
      assert.doesNotThrow(() => readFileSync(`${folder}${target}`), `${file}: ${target}`);
  }
});

test('the messages that the troubleshooting cures are those of the sources', () => {
  const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
    .filter((name) => /(?<!\.test)\.ts$/.test(name))
    .map((name) => readFileSync(join('src', name), 'utf8'))
    .join('\n');
  const messages = tableRows('docs/troubleshooting.md', 'message').flatMap(([cell = '']) => [
    ...cell.matchAll(/`([^`]+)`/g),
  ]);
  assert.ok(messages.length > 20);
  const ofSystem = new Set([...getSystemErrorMap().values()].map(([, text]) => text.toLowerCase()));
  for (const [, message = ''] of messages) {
    const pieces = message.split(/\.\.\.|[,:;()]|\b(?:N|M|x\.y)\b/).map((piece) => piece.trim());
    const ours = pieces.filter((piece) => !ofSystem.has(piece.toLowerCase()));
    const [longest = ''] = ours.toSorted((a, b) => b.length - a.length);
    assert.ok(sources.includes(longest), `no source says: ${longest}`);
  }
});
