import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ImageProcess } from './image.ts';
import { planProcess, signalNumber, type PlannedProcess, type ProcessRequest } from './process.ts';

const IMAGE: ImageProcess = {
  entrypoint: [],
  command: [],
  env: [],
  workingDirectory: '/',
  user: '',
  stopSignal: 'SIGTERM',
  exposedPorts: [],
};

function plan(
  image: Partial<ImageProcess> | undefined,
  request: Partial<ProcessRequest> = {},
): PlannedProcess {
  const process = image === undefined ? undefined : { ...IMAGE, ...image };
  return planProcess('app', process, {
    command: [],
    env: {},
    hasTerminal: false,
    hostname: 'box',
    ...request,
  });
}

// the table of the reference of `Dockerfile`, "Understand how CMD and ENTRYPOINT interact", and that of `docker run --entrypoint`
const COMMANDS: readonly (readonly [
  title: string,
  image: Pick<ImageProcess, 'entrypoint' | 'command'>,
  request: Pick<ProcessRequest, 'command'> & { readonly entrypoint?: string },
  argv: readonly string[] | undefined,
])[] = [
  ['neither', { entrypoint: [], command: [] }, { command: [] }, undefined],
  ['CMD alone', { entrypoint: [], command: ['c', 'p'] }, { command: [] }, ['c', 'p']],
  ['ENTRYPOINT alone', { entrypoint: ['e', 'p'], command: [] }, { command: [] }, ['e', 'p']],
  ['both', { entrypoint: ['e', 'p'], command: ['c', 'q'] }, { command: [] }, ['e', 'p', 'c', 'q']],
  ['a command replaces CMD', { entrypoint: [], command: ['c'] }, { command: ['x', 'y'] }, ['x', 'y']],
  ['arguments for ENTRYPOINT', { entrypoint: ['e'], command: ['c'] }, { command: ['x'] }, ['e', 'x']],
  [
    'another entry point drops CMD',
    { entrypoint: ['e'], command: ['c'] },
    { entrypoint: '/bin/x', command: [] },
    ['/bin/x'],
  ],
  [
    'another entry point with arguments',
    { entrypoint: ['e'], command: ['c'] },
    { entrypoint: 'a b', command: ['-c', ''] },
    ['a b', '-c', ''],
  ],
  [
    'no entry point, and a command',
    { entrypoint: ['e'], command: ['c'] },
    { entrypoint: '', command: ['x'] },
    ['x'],
  ],
  [
    'no entry point drops CMD',
    { entrypoint: ['e'], command: ['c'] },
    { entrypoint: '', command: [] },
    undefined,
  ],
];

for (const [title, image, request, argv] of COMMANDS) {
  test(`command of a run: ${title}`, () => {
    if (argv === undefined) assert.throws(() => plan(image, request), /image app: it has no command/);
    else assert.deepEqual(plan(image, request).argv, argv);
  });
}

test('a directory and a kernel alone have a shell', () => {
  assert.deepEqual(plan(undefined).argv, ['/bin/sh']);
  assert.deepEqual(plan(undefined, { command: ['ls'] }).argv, ['ls']);
  assert.equal(plan(undefined).cwd, '/');
});

const DEFAULTS = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOSTNAME: 'box',
};

const VARIABLES: readonly (readonly [
  title: string,
  image: readonly string[],
  request: Partial<ProcessRequest>,
  env: Readonly<Record<string, string>>,
])[] = [
  ['defaults', [], {}, DEFAULTS],
  ['a terminal', [], { hasTerminal: true }, { ...DEFAULTS, TERM: 'xterm' }],
  ['the image replaces defaults', ['PATH=/bin', 'HOSTNAME=x'], {}, { PATH: '/bin', HOSTNAME: 'x' }],
  [
    'the request replaces all',
    ['A=image', 'TERM=vt100'],
    { hasTerminal: true, env: { A: 'request', TERM: 'screen', PATH: '' } },
    { ...DEFAULTS, PATH: '', A: 'request', TERM: 'screen' },
  ],
  ['the last of equal names counts', ['A=1', 'A=2'], {}, { ...DEFAULTS, A: '2' }],
  ['values with equals signs, and without text', ['A=b=c', 'E='], {}, { ...DEFAULTS, A: 'b=c', E: '' }],
  ['names without a value, and values without a name', ['A', '=b'], {}, DEFAULTS],
];

for (const [title, env, request, expected] of VARIABLES) {
  test(`variables of a run: ${title}`, () => {
    assert.deepEqual(plan({ command: ['c'], env }, request).env, expected);
  });
}

test('a request replaces working directory and user', () => {
  const image = { command: ['c'], workingDirectory: '/app/', user: 'app:staff' };
  assert.deepEqual([plan(image).cwd, plan(image).user], ['/app', 'app:staff']);
  const other = plan(image, { workingDirectory: '/tmp/../srv', user: '0:0' });
  assert.deepEqual([other.cwd, other.user], ['/srv', '0:0']);
  assert.equal(plan({ ...image, workingDirectory: 'app' }).cwd, '/app');
  assert.equal(plan({ ...image, workingDirectory: '' }).cwd, '/');
  assert.throws(() => plan(image, { workingDirectory: 'srv' }), /"srv" must be an absolute path/);
});

test('texts that no process can have are refused', () => {
  const image = { command: ['c'] };
  assert.throws(() => plan(image, { command: ['a', 'b\0'] }), /the argument 1 has a NUL character/);
  assert.throws(() => plan(image, { env: { '': 'x' } }), /"" is not the name of a variable/);
  assert.throws(() => plan(image, { env: { 'A=B': 'x' } }), /"A=B" is not the name/);
  assert.throws(
    () => plan(image, { command: ['x'.repeat(131_072)] }),
    /the command is longer than 131071 bytes/,
  );
});

test('signals have names and numbers', () => {
  const cases: readonly (readonly [string, number | undefined])[] = [
    ['SIGTERM', 15],
    ['term', 15],
    ['9', 9],
    ['SIGQUIT', 3],
    ['SIGWINCH', 28],
    ['SIGRTMIN', 34],
    ['SIGRTMIN+3', 37],
    ['RTMAX-1', 63],
    ['SIGRTMIN+40', undefined],
    ['0', undefined],
    ['65', undefined],
    ['SIGNONE', undefined],
    ['', undefined],
  ];
  for (const [text, number] of cases) assert.equal(signalNumber(text), number, text);
});
