import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { findProgram } from '../../qemu/process/program.ts';
import { manualFiles } from './files.ts';
import { readSyntax } from './option-string.ts';

test('completions, manual pages and the configuration reference are those of the tables', () => {
  for (const [path, text] of manualFiles())
    assert.equal(readFileSync(path, 'utf8'), text, `${path} is stale: npm run manual`);
});

test('a syntax is taken apart into keys, values and words', () => {
  assert.deepEqual(readSyntax('off|tty|file=<path>,iommu=on|off (default: iommu=off)'), {
    words: ['off', 'tty'],
    keys: [
      { key: 'file', values: [], isPath: true },
      { key: 'iommu', values: ['on', 'off'], isPath: false },
    ],
    isPath: false,
    lists: [],
  });
  assert.deepEqual(readSyntax('path=<path>|<path>|fd=<fd>'), {
    words: [],
    keys: [
      { key: 'path', values: [], isPath: true },
      { key: 'fd', values: [], isPath: false },
    ],
    isPath: true,
    lists: [],
  });
});

/** Returns the arguments that a shell passes for a typed line, with tabs for completion. */
function typed(lines: readonly string[]): string {
  const words = ['-qec', 'bash --noprofile --norc -i', '/dev/null'];
  const input = ["PS1=''", "bind 'set enable-bracketed-paste off'", ...lines, 'exit', ''].join('\n');
  const { stdout } = spawnSync('script', words, {
    input,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], TERM: 'dumb', LC_ALL: 'C.UTF-8' },
    timeout: 20_000,
  });
  return stdout;
}

test('bash completes flags, keys, values and files as they are typed', () => {
  const shown = typed([
    '. completions/cloud-hypervisor.bash; . completions/ch-remote.bash',
    'cloud-hypervisor() { printf "<%s>" "$@"; echo; }; ch-remote() { cloud-hypervisor "$@"; }',
    'cloud-hypervisor --ini\tpackage.j\t',
    'cloud-hypervisor --disk rea\ton,pat\tdocs/arch\t --wat\t',
    'cloud-hypervisor --disk path=a readonly=of\t,queue_s\t7',
    'cloud-hypervisor --api-socket pat\t/us\tbi\tprintf',
    'ch-remote --api-s\t/x add-fs soc\tdocs/arch\t',
    'ch-remote --api-socket /x resi\t-zone --si\t1G',
  ]);
  for (const expected of [
    '<--initramfs><package.json>',
    '<--disk><readonly=on,path=docs/architecture.md><--watchdog>',
    '<--disk><path=a><readonly=off,queue_size=7>',
    '<--api-socket><path=/usr/bin/printf>',
    '<--api-socket></x><add-fs><socket=docs/architecture.md>',
    '<--api-socket></x><resize-zone><--size><1G>',
  ])
    assert.ok(shown.includes(`${expected}\r\n`), `${expected} is not in\n${shown}`);
});

test('bash completes verbs, flags of a verb, names of VMs and images of nephos', () => {
  const shown = typed([
    '. completions/nephos.bash',
    'nephos() { case $* in "ps -aq") echo web;; "images -q") echo alpine:3.20;; *) printf "<%s>" "$@"; echo;; esac; }',
    'nephos comple\tba\t',
    'nephos rm --for\tw\t',
    'nephos run -p 80:80 --netw\tno\talp\ttrue',
    'nephos ps --format js\t--filter sta\tx',
    'nephos stop -t 5 w\t',
  ]);
  for (const expected of [
    '<completion><bash>',
    '<rm><--force><web>',
    '<run><-p><80:80><--network><none><alpine:3.20><true>',
    '<ps><--format><json><--filter><state=x>',
    '<stop><-t><5><web>',
  ])
    assert.ok(shown.includes(`${expected}\r\n`), `${expected} is not in\n${shown}`);
});

/** Checkers of files, each with what it is called with. They are no part of the set-up. */
const CHECKERS: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['bash', ['-n'], /\.bash$/],
  ['zsh', ['-n'], /\/_[^/]+$/],
  ['fish', ['--no-execute'], /\.fish$/],
  // a page that is made from tables has no date
  ['mandoc', ['-T', 'lint', '-W', 'error'], /\.1$/],
  ['groff', ['-man', '-ww', '-z', '-Kutf8'], /\.1$/],
];

for (const [program, args, files] of CHECKERS) {
  const skip = findProgram(program) === undefined ? `${program} is not installed` : false;
  test(`${program} reports no problem in the generated files`, { skip }, () => {
    const paths = [...manualFiles().keys()].filter((path) => files.test(path));
    assert.ok(paths.length > 0);
    for (const path of paths) {
      const { status, stdout, stderr } = spawnSync(program, [...args, path], { encoding: 'utf8' });
      assert.deepEqual([status, `${stdout}${stderr}`], [0, ''], path);
    }
  });
}
