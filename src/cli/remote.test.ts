import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';

import { ApiError } from '../api/errors.ts';
import type { Endpoints } from '../api/route.ts';
import { CapturedLog, TempDir, TestServer } from '../http/test-kit.ts';
import { runRemote } from './remote-run.ts';
import { DIALECT_VERSION } from './version.ts';

const noStdin = (): Promise<Buffer> => Promise.reject(new Error('stdin is not to be read'));
const someStdin = () => Promise.resolve(Buffer.from('{"b":2}'));

const TAKING = [
  ...[
    'add-device',
    'add-disk',
    'add-fs',
    'add-net',
    'add-pmem',
    'add-vsock',
    'remove-device',
    'resize',
    'resize-zone',
    'snapshot',
    'restore',
    'send-migration',
    'receive-migration',
    'add-user-device',
    'add-vdpa',
    'add-generic-vhost-user',
  ],
];

const ROUTES = [
  ...['vmm.ping', 'vm.info', 'vm.counters'].map((name) => ['GET', name] as const),
  ...['boot', 'delete', 'shutdown', 'reboot', 'pause', 'resume', 'power-button', 'create'].map(
    (name) => ['PUT', `vm.${name}`] as const,
  ),
  ['PUT', 'vmm.shutdown'] as const,
  ...TAKING.map((name) => ['PUT', `vm.${name}`] as const),
];

function endpoints(calls: string[]): Endpoints {
  return new Map(
    ROUTES.map(([method, name]) => {
      const takes = name === 'vm.create' || TAKING.some((one) => name === `vm.${one}`);
      const body = takes ? 'required' : 'refused';
      const handle = async (request: unknown) => {
        calls.push(request === undefined ? name : `${name} ${JSON.stringify(request)}`);
        return answerOf(name);
      };
      return [name, { route: { method, body, decode: (json: unknown) => json }, handle }];
    }),
  );
}

function answerOf(name: string): unknown {
  switch (name) {
    case 'vm.reboot':
      throw new ApiError('no-vm', 'VM is not created');
    case 'vm.pause':
      throw new ApiError('wrong-state', 'VM is not running');
    case 'vm.boot':
      throw new ApiError('failed', 'disk _disk0: /x.raw: no such file');
    case 'vm.counters':
      throw new ApiError('not-supported', 'later');
    case 'vm.info':
      return { state: 'Running', é: 1 };
    default:
      return name === 'vmm.ping' ? { version: 'x' } : undefined;
  }
}

type Outcome = [code: number, stdout: string, stderr: string];

async function run(argv: readonly string[], stdin = noStdin): Promise<Outcome> {
  const { code, stdout, stderr } = await runRemote(argv, stdin);
  return [code, stdout, stderr];
}

/** Runs a command against a server of its own, which notes the calls. */
async function call(argv: readonly string[], calls: string[] = [], stdin = noStdin): Promise<Outcome> {
  using _ = new CapturedLog();
  await using server = await TestServer.start(endpoints(calls));
  return await run(['--api-socket', server.path, ...argv], stdin);
}

test('an answer with a body is printed as it is', async () => {
  assert.deepEqual(await call(['ping']), [0, '{"version":"x"}\n', '']);
  assert.deepEqual(await call(['info']), [0, '{"state":"Running","é":1}\n', '']);
});

test('the option may be one word, and behind the command', async () => {
  await using server = await TestServer.start(endpoints([]));
  const pong = [0, '{"version":"x"}\n', ''];
  assert.deepEqual(await run([`--api-socket=${server.path}`, 'ping']), pong);
  assert.deepEqual(await run(['ping', '--api-socket', server.path]), pong);
});

for (const [command, endpoint] of [
  ['delete', 'vm.delete'],
  ['shutdown', 'vm.shutdown'],
  ['resume', 'vm.resume'],
  ['power-button', 'vm.power-button'],
  ['shutdown-vmm', 'vmm.shutdown'],
] as const) {
  test(`${command} calls ${endpoint} and prints nothing`, async () => {
    const calls: string[] = [];
    assert.deepEqual(await call([command], calls), [0, '', '']);
    assert.deepEqual(calls, [endpoint]);
  });
}

for (const [command, text] of [
  ['reboot', 'NotFound: ["vm.reboot failed","VM is not created"]'],
  ['pause', 'MethodNotAllowed: ["vm.pause failed","VM is not running"]'],
  ['boot', 'InternalServerError: ["vm.boot failed","disk _disk0: /x.raw: no such file"]'],
  ['counters', 'NotImplemented: ["vm.counters failed","later"]'],
] as const) {
  test(`the error of ${command} is printed in one line`, async () => {
    const line = `Error running command: Server responded with an error: ${text}\n`;
    assert.deepEqual(await call([command]), [1, '', line]);
  });
}

test('create sends a file, or standard input, as it is', async () => {
  using dir = new TempDir();
  const calls: string[] = [];
  const file = join(dir.path, 'vm.json');
  writeFileSync(file, '{"a": [1]}\n');
  assert.deepEqual(await call(['create', file], calls), [0, '', '']);
  assert.deepEqual(await call(['create', '-'], calls, someStdin), [0, '', '']);
  assert.deepEqual(await call(['create'], calls, someStdin), [0, '', '']);
  assert.deepEqual(calls, ['vm.create {"a":[1]}', 'vm.create {"b":2}', 'vm.create {"b":2}']);
});

test('create reports the error of its file', async () => {
  using dir = new TempDir();
  const missing = join(dir.path, 'none');
  const line = `Error running command: Error reading ${missing}: No such file or directory (os error 2)\n`;
  assert.deepEqual(await call(['create', missing]), [1, '', line]);
  const bad = join(dir.path, 'bad.json');
  writeFileSync(bad, '{');
  const [code, , stderr] = await call(['create', bad]);
  assert.equal(code, 1);
  assert.match(stderr, /an error: BadRequest: \["vm\.create failed","Request body is not JSON at line 1/);
});

test('a body that is too large gets the answer of the server', async () => {
  using dir = new TempDir();
  const large = join(dir.path, 'large.json');
  writeFileSync(large, Buffer.alloc(5 * 1024 * 1024, 0x20));
  const [code, , stderr] = await call(['create', large]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /an error: PayloadTooLarge: \["vm\.create failed","Request body is larger than 4194304 bytes"\]/,
  );
});

test(
  'a body without an end is read as far as the server needs to refuse it',
  { timeout: 60_000 },
  async () => {
    const [code, , stderr] = await call(['create', '/dev/zero']);
    assert.equal(code, 1);
    assert.match(stderr, /an error: PayloadTooLarge: .*Request body is larger than 4194304 bytes/);
  },
);

test('a missing server and a refused connection are reported with their reasons', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 'none.sock');
  const opening = 'Error running command: Error opening HTTP socket:';
  const gone = `${opening} No such file or directory (os error 2)\n`;
  assert.deepEqual(await run(['--api-socket', path, 'ping']), [1, '', gone]);
  writeFileSync(path, '');
  const refused = `${opening} Connection refused (os error 111)\n`;
  assert.deepEqual(await run(['--api-socket', path, 'ping']), [1, '', refused]);
});

for (const [what, bytes, stdout, stderr] of [
  ['answers without a length', 'HTTP/1.1 200 \r\nConnection: keep-alive\r\n\r\n', '', ''],
  [
    'refuses without a body',
    'HTTP/1.1 400 \r\n\r\n',
    '',
    'Error running command: Server responded with an error: BadRequest\n',
  ],
  [
    'does not speak HTTP',
    'SSH-2.0-x\r\n\r\n',
    '',
    'Error running command: HTTP output is missing protocol statement\n',
  ],
  [
    'hangs up',
    '',
    '',
    'Error running command: Error writing to or reading from HTTP socket: Connection reset by peer (os error 104)\n',
  ],
  [
    'hangs up in the middle',
    'HTTP/1.1 200 \r\nContent-Length: 9\r\n\r\n{',
    '',
    'Error running command: Error writing to or reading from HTTP socket: Connection reset by peer (os error 104)\n',
  ],
] as const) {
  test(`a server that ${what}`, async () => {
    using dir = new TempDir();
    const path = join(dir.path, 'other.sock');
    const other = createServer((socket) => {
      // An answer without length must do without the end of the connection.
      socket.once('data', () => (stderr.includes('reset') ? socket.end(bytes) : socket.write(bytes)));
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => other.listen(path, resolve));
    try {
      assert.deepEqual(await run(['--api-socket', path, 'ping']), [stderr === '' ? 0 : 1, stdout, stderr]);
    } finally {
      other.close();
    }
  });
}

test('each status that the API has is named', async () => {
  const names: readonly (readonly [number, string])[] = [
    [400, 'BadRequest'],
    [404, 'NotFound'],
    [405, 'MethodNotAllowed'],
    [409, 'Conflict'],
    [413, 'PayloadTooLarge'],
    [429, 'TooManyRequests'],
    [431, 'RequestHeaderFieldsTooLarge'],
    [500, 'InternalServerError'],
    [501, 'NotImplemented'],
    [503, 'ServiceUnavailable'],
    [599, 'Unknown'],
  ];
  using dir = new TempDir();
  const path = join(dir.path, 'statuses.sock');
  let status = 0;
  const other = createServer((socket) => {
    socket.once('data', () => socket.write(`HTTP/1.1 ${status} \r\nContent-Length: 5\r\n\r\n["a"]`));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => other.listen(path, resolve));
  try {
    for (const [code, name] of names) {
      status = code;
      const line = `Error running command: Server responded with an error: ${name}: ["a"]\n`;
      assert.deepEqual(await run(['--api-socket', path, 'resume']), [1, '', line]);
    }
  } finally {
    other.close();
  }
});

const COMPOSED = { snapshot_type: 'diff', compose: true };

for (const [argv, endpoint, body] of [
  [['send-migration', 'unix:/x, y'], 'vm.send-migration', { destination_url: 'unix:/x, y' }],
  [['receive-migration', 'tcp:h:1'], 'vm.receive-migration', { receiver_url: 'tcp:h:1' }],
  [['send-migration', 'destination_url=unix:/x'], 'vm.send-migration', { destination_url: 'unix:/x' }],
  [
    ['receive-migration', 'receiver_url="unix:/x, y=z"'],
    'vm.receive-migration',
    { receiver_url: 'unix:/x, y=z' },
  ],
  [['snapshot', 'file:///x'], 'vm.snapshot', { destination_url: 'file:///x' }],
  [['snapshot', '--diff', 'x'], 'vm.snapshot', { destination_url: 'x', snapshot_type: 'diff' }],
  [['snapshot', '--compose', 'x'], 'vm.snapshot', { ...COMPOSED, destination_url: 'x' }],
  [
    ['restore', 'source_url=file:///x,prefault=on'],
    'vm.restore',
    { source_url: 'file:///x', prefault: true },
  ],
  [
    ['restore', '{"source_url":"file:///x","overrides":{"serial":{"file":"/a,b"}}}'],
    'vm.restore',
    { overrides: { serial: { file: '/a,b' } } },
  ],
  [['add-disk', 'path=/x,id=a'], 'vm.add-disk', { path: '/x', readonly: false, num_queues: 1, id: 'a' }],
  [['add-disk', 'path="/a,b=c"'], 'vm.add-disk', { path: '/a,b=c' }],
  [
    ['add-disk', 'path=/x,num_queues=2,queue_affinity=[1@[0,2-3]],sparse=on,pci_segment=0'],
    'vm.add-disk',
    { queue_affinity: [{ queue_index: 1, host_cpus: [0, 2, 3] }], sparse: true, pci_segment: 0 },
  ],
  [['add-net', 'user,offload_tso=off'], 'vm.add-net', { backend: 'user', offload_tso: false }],
  [
    ['add-device', 'path=/sys/d,x_nv_gpudirect_clique=2'],
    'vm.add-device',
    { path: '/sys/d', x_nv_gpudirect_clique: 2 },
  ],
  [['add-net', 'tap=t0,num_queues=4'], 'vm.add-net', { tap: 't0', num_queues: 4, ip: '192.168.249.1' }],
  [['add-fs', 'tag=t,socket=/s'], 'vm.add-fs', { tag: 't', socket: '/s', queue_size: 1024 }],
  [['add-pmem', 'file=/p,size=128M'], 'vm.add-pmem', { file: '/p', size: 134_217_728 }],
  [['add-vsock', 'cid=3,socket=/s'], 'vm.add-vsock', { cid: 3, socket: '/s' }],
  [['add-device', 'path=/sys/x,id=v'], 'vm.add-device', { path: '/sys/x', id: 'v' }],
  [['remove-device', 'a b'], 'vm.remove-device', { id: 'a b' }],
  [
    ['resize', '--cpus', '2', '--memory=1G'],
    'vm.resize',
    { desired_vcpus: 2, desired_ram: 2 ** 30, desired_balloon: null },
  ],
  [['resize', '--balloon', '512M'], 'vm.resize', { desired_vcpus: null, desired_balloon: 2 ** 29 }],
  [['resize-zone', '--id', 'z', '--size', '3G'], 'vm.resize-zone', { id: 'z', desired_ram: 3 * 2 ** 30 }],
] as const) {
  test(`${argv.join(' ')} is sent as the API has it`, async () => {
    const calls: string[] = [];
    await call(argv, calls);
    const [sent = ''] = calls;
    assert.equal(sent.split(' ')[0], endpoint);
    const json = JSON.parse(sent.slice(endpoint.length + 1)) as object;
    assert.deepEqual({ ...json, ...body }, json);
  });
}

/** Words of later releases, which the API ignores as well; the request goes out without them. */
const IGNORED: readonly (readonly [argv: readonly string[], warnings: readonly string[]])[] = [
  [
    ['add-device', 'path=/x,x_exclude_mmap_bars=[0,2],fd=5'],
    ['fd', 'x_exclude_mmap_bars'],
  ],
  [['add-user-device', 'socket=/s,pci_device_id=3'], ['pci_device_id']],
  [['add-vdpa', 'path=/x,pci_device_id=3'], ['pci_device_id']],
  [['add-generic-vhost-user', 'socket=/s,device_type=1,pci_device_id=3'], ['pci_device_id']],
  [
    ['restore', 'source_url=file:///x,memory_restore_mode=ondemand,zone_updates=[a@[b,c]]'],
    ['memory_restore_mode', 'zone_updates'],
  ],
  [
    ['send-migration', 'destination_url=unix:/x,local=on,downtime_ms=1,timeout_s=1,connections=1'],
    ['connections', 'downtime_ms', 'local', 'timeout_s'],
  ],
  [['send-migration', '--local', 'unix:/x'], ['--local']],
  [['send-migration', 'unix:/x', '--local'], ['--local']],
  [['receive-migration', 'receiver_url=unix:/x,memory_mode=precopy'], ['memory_mode']],
];

for (const [argv, words] of IGNORED) {
  test(`${argv.join(' ')} is sent, with a warning of each word that is ignored`, async () => {
    const calls: string[] = [];
    const [code, stdout, stderr] = await call(argv, calls);
    assert.deepEqual([code, stdout], [0, '']);
    const lines = stderr.split('\n').slice(0, -1);
    const named = lines.map((line) => /^warning: (?:--[a-z-]+: )?(\S+) is ignored$/.exec(line)?.[1] ?? line);
    assert.deepEqual(new Set(named), new Set(words));
    const [sent = ''] = calls;
    for (const word of words) assert.ok(!sent.includes(word.replace('--', '"')), sent);
  });
}

test('members without effect are reported as by the daemon, also those of a restore in JSON', async () => {
  for (const argv of [
    ['add-device', 'path=/x,pci_segment=1'],
    ['add-disk', 'path=/x,pci_segment=1'],
    ['add-fs', 'tag=t,socket=/s,pci_segment=1'],
    ['add-net', 'tap=t0,pci_segment=1'],
    ['add-pmem', 'file=/p,pci_segment=1'],
    ['add-vsock', 'cid=3,socket=/s,pci_segment=1'],
  ]) {
    const [code, , stderr] = await call(argv);
    assert.equal(code, 0);
    assert.match(stderr, /^warning: pci_segment: all devices are on PCI segment 0.*\n$/, argv.join(' '));
  }
  const [, , member] = await call(['restore', '{"source_url":"file:///x","colour":1}']);
  assert.equal(member, 'warning: unknown fields ignored: colour\n');
});

test('warnings go before the error of the same command', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 'refusing.sock');
  const other = createServer((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 404 \r\n\r\n'));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => other.listen(path, resolve));
  try {
    const [code, , stderr] = await run(['--api-socket', path, 'add-device', 'path=/x,fd=3']);
    assert.equal(code, 1);
    assert.match(stderr, /^warning: --device: fd is ignored\nError running command: Server .*: NotFound\n$/);
  } finally {
    other.close();
  }
});

for (const [argv, text] of [
  [
    ['send-migration', 'destination=unix:/x'],
    'Error parsing send migration configuration: unknown option: destination\n',
  ],
  [
    ['receive-migration', 'tls_dir=/x'],
    'Error parsing receive migration configuration: receiver_url missing\n',
  ],
  [['add-disk', 'foo=1'], 'Error parsing disk syntax: Error parsing --disk: unknown option: foo'],
  [['add-fs', 'tag=t'], 'Error parsing filesystem syntax: Error parsing --fs: socket missing'],
  [['add-vsock', 'cid=2,socket=/s'], 'Error parsing vsock syntax: cid: expected a whole number from 3'],
  [['resize', '--cpus', 'two'], 'Error parsing CPU count: invalid digit found in string\n'],
  [
    ['resize', '--memory', '12T'],
    'Error parsing memory size: InvalidValue("12T")\n' +
      '  expected a size such as 512M (K, M or G, upper case); did you mean 12288G?\n',
  ],
  [['resize', '--balloon', '-'], 'Error parsing balloon size: InvalidValue("-")\n'],
  [
    ['add-disk', 'a.raw'],
    'Error parsing disk syntax: Error parsing --disk: unknown option: a.raw\n  did you mean path=a.raw?\n',
  ],
] as const) {
  test(`${argv.join(' ')} says what is wrong`, async () => {
    const [code, stdout, stderr] = await call(argv);
    assert.deepEqual([code, stdout], [1, '']);
    assert.ok(stderr.startsWith(`Error running command: ${text}`), stderr);
  });
}

for (const [argv, message, hint] of [
  [['--api-socket', 'x', 'add-disk'], 'The argument <disk_config> is required'],
  [['--api-socket', 'x', 'remove-device'], 'The argument <id> is required'],
  [['--api-socket', 'x', 'resize-zone', '--id', 'z'], 'The argument <--size> is required'],
  [['--api-socket', 'x', 'resize', '--cpus'], 'The option --cpus needs a value'],
  [
    ['--api-socket', 'x', 'ping', '--cpus', '2'],
    "Found argument '--cpus' which wasn't expected, or isn't valid in this context",
  ],
  [[], 'A sub-command is required'],
  [['--api-socket', 'x'], 'A sub-command is required'],
  [['ping'], 'The option --api-socket <path> is required'],
  [['--api-socket=', 'ping'], 'The option --api-socket needs a path'],
  [['ping', '--api-socket'], 'The option --api-socket needs a path'],
  [['--api-socket=a', '--api-socket=b', 'ping'], 'The option --api-socket was given more than once'],
  [['--api-socket', 'x', 'fly'], "The subcommand 'fly' wasn't recognized"],
  [['--loud', 'ping'], "Found argument '--loud' which wasn't expected, or isn't valid in this context"],
  [['-x'], "Found argument '-x' which wasn't expected, or isn't valid in this context"],
  [['ping', 'twice'], "Found argument 'twice' which wasn't expected, or isn't valid in this context"],
  [
    ['create', 'a', 'b'],
    "Found argument 'b' which wasn't expected, or isn't valid in this context",
    'expected create [path]',
  ],
  [['staus', '--api-socket', 'x'], "The subcommand 'staus' wasn't recognized", 'did you mean info?'],
  [['add_disc'], "The subcommand 'add_disc' wasn't recognized", 'did you mean add-disk?'],
  [['vm.info'], "The subcommand 'vm.info' wasn't recognized", 'did you mean info?'],
  [
    ['resize', '--cpu', '2'],
    "Found argument '--cpu' which wasn't expected, or isn't valid in this context",
    'did you mean --cpus?',
  ],
  [
    ['--api-sock=x', 'ping'],
    "Found argument '--api-sock=x' which wasn't expected, or isn't valid in this context",
    'did you mean --api-socket?',
  ],
  [
    ['--api-sockt', '/x', 'ping'],
    "Found argument '--api-sockt' which wasn't expected, or isn't valid in this context",
    'did you mean --api-socket?',
  ],
  [
    ['resize', '2'],
    "Found argument '2' which wasn't expected, or isn't valid in this context",
    'expected resize [--cpus N] [--memory SIZE] [--balloon SIZE]',
  ],
  [['snapshot', '--live=false', 'file:///x'], 'The option --live takes no value'],
  [['snapshot', '--live'], 'The argument <destination_url> is required'],
] as readonly (readonly [readonly string[], string, string?])[]) {
  test(`a command line that makes no sense: ${argv.join(' ')}`, async () => {
    const text = `error: ${message}\n${hint === undefined ? '' : `  ${hint}\n`}\nFor more information try --help\n`;
    assert.deepEqual(await run(argv), [2, '', text]);
  });
}

test('help names every command, version the program and the release whose API it speaks', async () => {
  for (const argv of [['--help'], ['-h'], ['help'], ['--api-socket', 'x', 'ping', '--help']]) {
    const [code, stdout, stderr] = await run(argv);
    assert.deepEqual([code, stderr], [0, '']);
    for (const name of [
      'ping',
      'create [path]',
      'shutdown-vmm',
      'snapshot [--live] [--diff | --compose]',
      'receive-migration',
    ]) {
      assert.match(stdout, new RegExp(`^ {4}${name.replace(/[[\]]/g, '\\$&')} `, 'm'));
    }
    for (const line of stdout.split('\n')) assert.ok(line.length <= 110, line);
  }
  for (const flag of ['-V', '--version'])
    assert.deepEqual(await run([flag]), [0, `ch-remote v${DIALECT_VERSION}\n`, '']);
});
