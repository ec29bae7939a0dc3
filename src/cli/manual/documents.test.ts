import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { getSystemErrorMap } from 'node:util';
import { VmConfig } from '../../config/vm-config.ts';
import type { Struct } from '../../schema/field.ts';
import { documents, shellBlocks, tableRows } from '../../../tests/support/markdown.ts';

/** Blocks that tests/docs.test.ts skips, with the reason in the document. */
const NOT_RUN: readonly (readonly [string, string])[] = [
  ['README.md', 'it installs Nephos from the registry of npm'],
  ['README.md', 'they would start themselves'],
  ['README.md', 'it needs a terminal to log in at'],
  ['docs/clients.md', 'it needs libvirt, whose driver asks for KVM'],
  ['docs/getting-started.md', 'it sets the machine up'],
  ['docs/getting-started.md', 'it needs a terminal to log in at'],
  ['docs/kubernetes.md', 'npm run test:kata runs them where Kata is installed'],
  ['docs/kubernetes.md', 'npm run test:kata runs them where Kata is installed'],
  ['docs/kubernetes.md', 'it builds Kata, which takes half an hour and its sources'],
  ['docs/nephos.md', 'it installs packages'],
  ['docs/nephos.md', 'it needs a terminal to type at'],
  ['docs/nephos.md', 'both end with Ctrl-] or Ctrl-C at a terminal'],
  ['docs/nephos.md', 'pools have tests of their own'],
  ['docs/networking.md', 'it needs a program that serves the socket'],
  ['docs/recipes.md', 'npm run test:slow runs it with a disk image of Debian'],
  ['docs/recipes.md', 'npm run test:slow runs it with a disk image of Debian'],
  ['docs/snapshots.md', 'it needs two VMMs on two hosts'],
];

test('every command in the documents runs, or its block has a reason', () => {
  const left = documents()
    .flatMap(shellBlocks)
    .flatMap(({ file, notRun }) => (notRun === undefined ? [] : [[file, notRun]]));
  assert.deepEqual(left, NOT_RUN);
});

test('code blocks have a known language', () => {
  for (const file of documents()) {
    const languages = [...readFileSync(file, 'utf8').matchAll(/^```(\w+)/gm)].map(([, language]) => language);
    for (const language of languages)
      assert.ok(
        ['sh', 'ts', 'json', 'toml', 'xml', 'mermaid'].includes(language ?? ''),
        `${file}: ${language}`,
      );
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

test('no text refers to documents outside the repository', () => {
  const texts = ['src', 'tests', 'scripts', 'bench', 'examples', 'docs']
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
    )
    .filter((name) => /\.(?:ts|sh|md)$/.test(name));
  assert.ok(texts.length > 500);
  const outside = /\breference\/[a-z-]+\.md|\.\.\/shared\b/;
  assert.deepEqual(
    texts.filter((name) => outside.test(readFileSync(name, 'utf8'))),
    [],
  );
});

/** Anchor of a heading, as GitHub and npm make it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w\s-]/g, '')
    .replaceAll(' ', '-');
}

test('links between the documents lead to a file and a heading', () => {
  for (const file of documents()) {
    const folder = file.replace(/[^/]*$/, '');
    for (const [link, target = '', anchor] of readFileSync(file, 'utf8').matchAll(
      /\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g,
    )) {
      const text = readFileSync(target === '' ? file : `${folder}${target}`, 'utf8');
      const anchors = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchorOf(heading));
      assert.ok(anchor === undefined || anchors.includes(anchor), `${file}: ${link}`);
    }
  }
});

/** Names of all members of a VM, at any depth. */
function memberNames(struct: Struct): string[] {
  return Object.entries(struct.fields).flatMap(([name, { nested }]) => [
    name,
    ...(nested === undefined ? [] : memberNames(nested)),
  ]);
}

test('members that the documents call ignored are unknown to the configuration', () => {
  const cells = readFileSync('docs/compatibility.md', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('|') && line.includes('ignored with a warning'))
    .flatMap((line) => line.split('|').filter((cell) => !cell.includes('ignored with a warning')));
  assert.ok(cells.length > 0);
  const known = memberNames(VmConfig);
  const named = cells.flatMap((cell) =>
    [...cell.matchAll(/`(?:\w+\.)*(\w+)`/g)].map(([, name = '']) => name),
  );
  assert.deepEqual(
    named.filter((name) => known.includes(name)),
    [],
  );
});

test('messages in docs/troubleshooting.md are those of the sources', () => {
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

/** Path of a test file in tests/ or src/. */
const TEST_FILE = /[\w./-]+\.test\.ts/g;

test('each of Cloud Hypervisor’s tests has a verdict, and files that exist where it holds', () => {
  const rows = tableRows('docs/cloud-hypervisor-tests.md', 'name');
  assert.ok(rows.length > 300, String(rows.length));
  const wrong = rows.flatMap(([name = '', holds = '', by = '']) => {
    const files = by.match(TEST_FILE) ?? [];
    const missing = files.filter(
      (file) => !['tests', 'src'].some((folder) => existsSync(join(folder, file))),
    );
    const isOpen = !['yes', 'in part', 'no'].includes(holds) || by === '';
    const isClaimed = holds === 'yes' && files.length === 0;
    return isOpen || isClaimed || missing.length > 0 ? [[name, holds, ...missing].join(' ')] : [];
  });
  assert.deepEqual(wrong, []);
});
