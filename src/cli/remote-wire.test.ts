// Every sub-command of Cloud Hypervisor's ch-remote: the bytes of its request, and what becomes of the answer.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { isPinnedRoute } from '../devices/test-kinds.ts';
import { TempDir } from '../http/test-kit.ts';
import { runRemote } from './remote-run.ts';
import { REMOTE_COMMANDS } from './remote-commands.ts';

const NO_CONTENT = 'HTTP/1.1 204 \r\nServer: Cloud Hypervisor API\r\nConnection: keep-alive\r\n\r\n';

function answered(status: number, body: string): string {
  return `HTTP/1.1 ${status} \r\nServer: x\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** A server that takes one request, byte for byte, and answers it. */
class RawServer implements AsyncDisposable {
  readonly path: string;
  readonly #dir: TempDir;
  readonly #server: Server;
  #got = '';

  private constructor(dir: TempDir, answer: string) {
    this.#dir = dir;
    this.path = join(dir.path, 'a, "b" é.sock');
    this.#server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (bytes: Buffer) => {
        this.#got += bytes.toString('utf8');
        if (isWhole(this.#got)) socket.write(answer);
      });
    });
  }

  static async start(answer: string): Promise<RawServer> {
    const server = new RawServer(new TempDir(), answer);
    await new Promise<void>((resolve) => server.#server.listen(server.path, resolve));
    return server;
  }

  get got(): string {
    return this.#got;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
    this.#dir[Symbol.dispose]();
  }
}

function isWhole(request: string): boolean {
  const end = request.indexOf('\r\n\r\n');
  const length = Number(/\r\nContent-Length: (\d+)\r\n/.exec(request)?.[1] ?? 0);
  return end >= 0 && Buffer.byteLength(request.slice(end + 4)) >= length;
}

/** A request as Cloud Hypervisor's client sends it, with these headers only. */
function request(method: string, endpoint: string, body?: string): string {
  const length = body === undefined ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
  return `${method} /api/v1/${endpoint} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n${length}\r\n${body ?? ''}`;
}

interface Ran {
  readonly got: string;
  readonly result: readonly [code: number, stdout: string, stderr: string];
}

async function run(argv: readonly string[], answer: string): Promise<Ran> {
  await using server = await RawServer.start(answer);
  const words = ['--api-socket', server.path, ...argv];
  const { code, stdout, stderr } = await runRemote(words, async () => Buffer.from('{"from":"stdin"}'));
  return { got: server.got, result: [code, stdout, stderr] };
}

const QUIET = [0, '', ''] as const;
const MIB = 2 ** 20;

const SENT: readonly (readonly [argv: readonly string[], bytes: string])[] = [
  [['ping'], request('GET', 'vmm.ping')],
  [['info'], request('GET', 'vm.info')],
  [['counters'], request('GET', 'vm.counters')],
  [['create', '-'], request('PUT', 'vm.create', '{"from":"stdin"}')],
  [['shutdown-vmm'], request('PUT', 'vmm.shutdown')],
  ...['boot', 'delete', 'pause', 'resume', 'reboot', 'shutdown', 'power-button', 'nmi'].map(
    (name) => [[name], request('PUT', `vm.${name}`)] as const,
  ),
  [
    ['add-device', 'path=/sys/bus/pci/devices/0000:00:01.0/'],
    request('PUT', 'vm.add-device', '{"path":"/sys/bus/pci/devices/0000:00:01.0/","iommu":false,"id":null}'),
  ],
  [
    ['add-disk', 'path=/x'],
    request(
      'PUT',
      'vm.add-disk',
      '{"path":"/x","readonly":false,"direct":false,"iommu":false,"num_queues":1,"queue_size":128,' +
        '"vhost_user":false,"vhost_socket":null,"poll_queue":true,"rate_limiter_config":null,"id":null,' +
        '"disable_io_uring":false}',
    ),
  ],
  [
    ['add-fs', 'tag=ü,socket=/s'],
    request(
      'PUT',
      'vm.add-fs',
      '{"tag":"ü","socket":"/s","num_queues":1,"queue_size":1024,"dax":true,"cache_size":8589934592,"id":null}',
    ),
  ],
  [
    ['add-net', 'tap=t0,mac=2e:00:00:00:00:01'],
    request(
      'PUT',
      'vm.add-net',
      '{"tap":"t0","ip":"192.168.249.1","mask":"255.255.255.0","mac":"2e:00:00:00:00:01","host_mac":null,' +
        '"iommu":false,"num_queues":2,"queue_size":256,"vhost_user":false,"vhost_socket":null,' +
        '"vhost_mode":"Client","id":null,"fds":null,"rate_limiter_config":null}',
    ),
  ],
  [
    // numbers of the VMM's descriptors: this process has none such
    ['add-net', 'fd=900:901,num_queues=4,mac=2e:00:00:00:00:01,bw_size=1000,bw_refill_time=100'],
    request(
      'PUT',
      'vm.add-net',
      '{"tap":null,"ip":"192.168.249.1","mask":"255.255.255.0","mac":"2e:00:00:00:00:01","host_mac":null,' +
        '"iommu":false,"num_queues":4,"queue_size":256,"vhost_user":false,"vhost_socket":null,' +
        '"vhost_mode":"Client","id":null,"fds":[900,901],"rate_limiter_config":' +
        '{"bandwidth":{"size":1000,"one_time_burst":0,"refill_time":100},"ops":null}}',
    ),
  ],
  [
    ['add-pmem', 'file=/p,size=128M'],
    request(
      'PUT',
      'vm.add-pmem',
      `{"file":"/p","size":${128 * MIB},"iommu":false,"mergeable":false,"discard_writes":false,"id":null}`,
    ),
  ],
  [
    ['add-vsock', 'cid=3,socket=/s'],
    request('PUT', 'vm.add-vsock', '{"cid":3,"socket":"/s","iommu":false,"id":null}'),
  ],
  [['remove-device', 'a "b"'], request('PUT', 'vm.remove-device', '{"id":"a \\"b\\""}')],
  [
    ['resize'],
    request('PUT', 'vm.resize', '{"desired_vcpus":null,"desired_ram":null,"desired_balloon":null}'),
  ],
  [
    ['resize', '--cpus', '4', '--memory=1G', '--balloon', '128M'],
    request(
      'PUT',
      'vm.resize',
      `{"desired_vcpus":4,"desired_ram":${1024 * MIB},"desired_balloon":${128 * MIB}}`,
    ),
  ],
  [
    ['resize-zone', '--id', 'mem0', '--size', '2G'],
    request('PUT', 'vm.resize-zone', `{"id":"mem0","desired_ram":${2048 * MIB}}`),
  ],
  [
    ['resize-disk', '--disk', '_disk0', '--size', '2G'],
    request('PUT', 'vm.resize-disk', `{"id":"_disk0","desired_size":${2048 * MIB}}`),
  ],
  [['snapshot', 'file:///a b'], request('PUT', 'vm.snapshot', '{"destination_url":"file:///a b"}')],
  [
    ['restore', 'source_url=file:///a,prefault=on'],
    request('PUT', 'vm.restore', '{"source_url":"file:///a","prefault":true}'),
  ],
  [
    ['restore', 'source_url=file:///a,net_fds=[a@[30,31],b@[32]]'],
    request(
      'PUT',
      'vm.restore',
      '{"source_url":"file:///a","prefault":false,"net_fds":[{"id":"a","num_fds":2,"fds":[30,31]},{"id":"b","num_fds":1,"fds":[32]}]}',
    ),
  ],
  [['send-migration', 'unix:/m'], request('PUT', 'vm.send-migration', '{"destination_url":"unix:/m"}')],
  [['receive-migration', 'unix:/m'], request('PUT', 'vm.receive-migration', '{"receiver_url":"unix:/m"}')],
];

for (const [argv, bytes] of SENT) {
  test(`the bytes of: ${argv.join(' ')}`, async () => {
    const { got, result } = await run(argv, NO_CONTENT);
    assert.equal(got, bytes);
    assert.deepEqual(result, QUIET);
  });
}

test('every sub-command of Cloud Hypervisor exists, and the table has all', () => {
  const names = new Set(SENT.map(([[name]]) => name));
  // the VMM rejects additions of current versions: tests/current-requests.test.ts
  const later = ['add-user-device', 'add-vdpa', 'add-generic-vhost-user', 'coredump'];
  // their answers have no end: tests/event-stream.test.ts, tests/console-viewers.test.ts
  const streams = ['events', 'console'];
  const ours = REMOTE_COMMANDS.map(({ name }) => name).filter(
    (name) => ![...later, ...streams].includes(name) && isPinnedRoute(`vm.${name}`),
  );
  assert.deepEqual(new Set(ours), names);
});

test('a MAC address is made here where none is given', async () => {
  const macs = [];
  for (let i = 0; i < 2; i += 1)
    macs.push(/"mac":"([^"]*)"/.exec((await run(['add-net', 'tap=t'], NO_CONTENT)).got)?.[1]);
  for (const mac of macs) assert.match(mac ?? '', /^2e(:[\da-f]{2}){5}$/);
  assert.notEqual(macs[0], macs[1]);
});

const FAILED = 'Error running command: ';
for (const [what, answer, result] of [
  ['200 with a body', answered(200, '{"a":1}'), [0, '{"a":1}\n', '']],
  ['200 without a body', 'HTTP/1.1 200 \r\n\r\n', QUIET],
  ['204', NO_CONTENT, QUIET],
  ['100', 'HTTP/1.1 100 \r\n\r\n', QUIET],
  ['a reason phrase', 'HTTP/1.1 204 No Content\r\n\r\n', QUIET],
  [
    'escaped text',
    answered(200, '["\\u00fc \\ud83d\\ude00 \\\\u00fc \\u000a"]'),
    [0, '["ü 😀 \\\\u00fc \\u000a"]\n', ''],
  ],
  [
    '400',
    answered(400, '["a","b"]'),
    [1, '', `${FAILED}Server responded with an error: BadRequest: ["a","b"]\n`],
  ],
  ['404', answered(404, 'x'), [1, '', `${FAILED}Server responded with an error: NotFound: x\n`]],
  ['405', answered(405, 'x'), [1, '', `${FAILED}Server responded with an error: MethodNotAllowed: x\n`]],
  ['429', answered(429, 'x'), [1, '', `${FAILED}Server responded with an error: TooManyRequests: x\n`]],
  ['500', answered(500, 'x'), [1, '', `${FAILED}Server responded with an error: InternalServerError: x\n`]],
  ['501', answered(501, 'x'), [1, '', `${FAILED}Server responded with an error: NotImplemented: x\n`]],
  ['503', answered(503, 'x'), [1, '', `${FAILED}Server responded with an error: ServiceUnavailable: x\n`]],
  ['599', answered(599, 'x'), [1, '', `${FAILED}Server responded with an error: Unknown: x\n`]],
  [
    'an error without a body',
    'HTTP/1.1 500 \r\n\r\n',
    [1, '', `${FAILED}Server responded with an error: InternalServerError\n`],
  ],
  ['no HTTP', 'SSH-2.0\r\n\r\n', [1, '', `${FAILED}HTTP output is missing protocol statement\n`]],
  [
    'no status',
    'HTTP/1.1 OK\r\n\r\n',
    [1, '', `${FAILED}Error parsing HTTP status code: invalid digit found in string\n`],
  ],
  [
    'no length',
    'HTTP/1.1 200 \r\nContent-Length: x\r\n\r\n',
    [1, '', `${FAILED}Error parsing HTTP Content-Length field: invalid digit found in string\n`],
  ],
] as const) {
  test(`an answer of ${what}`, async () => {
    const ran = await run(['ping'], answer);
    assert.deepEqual(ran.result, result);
  });
}

test('the bytes of two characters may come apart', async () => {
  const body = answered(200, '"ü"');
  await using server = await RawServer.start('');
  const whole = Buffer.from(body);
  const split = whole.indexOf(0xbc);
  const other = createServer((socket) => {
    socket.once('data', () => {
      socket.write(whole.subarray(0, split), () => setImmediate(() => socket.write(whole.subarray(split))));
    });
  });
  const path = `${server.path}2`;
  await new Promise<void>((resolve) => other.listen(path, resolve));
  const { stdout } = await runRemote(['--api-socket', path, 'ping'], async () => Buffer.alloc(0));
  other.close();
  assert.equal(stdout, '"ü"\n');
});

for (const [argv, text] of [
  [['resize', '--cpus', 'x'], 'Error parsing CPU count: invalid digit found in string'],
  [['resize', '--cpus', '256'], 'Error parsing CPU count: number too large to fit in target type'],
  [['resize', '--cpus='], 'Error parsing CPU count: cannot parse integer from empty string'],
  [['resize', '--memory', '12T'], 'Error parsing memory size: InvalidValue("12T")'],
  [['resize', '--memory', 'xM'], 'Error parsing memory size: InvalidValue("x")'],
  [['resize', '--balloon', '1.5G'], 'Error parsing balloon size: InvalidValue("1.5")'],
  [['resize-zone', '--id', 'a', '--size', '1k'], 'Error parsing memory size: InvalidValue("1k")'],
  [['add-disk', 'foo=1'], 'Error parsing disk syntax: Error parsing --disk: unknown option: foo'],
  [['add-device', ''], 'Error parsing device syntax: '],
  [['add-fs', 'tag=t'], 'Error parsing filesystem syntax: '],
  [['add-pmem', 'size=1M'], 'Error parsing persistent memory syntax: '],
  [['add-net', 'mac=1'], 'Error parsing network syntax: '],
  [['add-vsock', 'cid=3'], 'Error parsing vsock syntax: '],
  [['restore', 'x=y'], 'Error parsing restore syntax: '],
] as const) {
  test(`told before anything is sent: ${argv.join(' ')}`, async () => {
    const { got, result } = await run(argv, NO_CONTENT);
    const [code, stdout, stderr] = result;
    assert.deepEqual([got, code, stdout], ['', 1, '']);
    assert.ok(stderr.startsWith(FAILED + text), stderr);
    // the message, and what is expected
    assert.ok(stderr.trimEnd().split('\n').length <= 2, stderr);
  });
}

test('a missing server is reported before an error in the arguments', async () => {
  using dir = new TempDir();
  const { stderr } = await runRemote(
    ['--api-socket', join(dir.path, 'none'), 'add-disk', 'foo=1'],
    async () => Buffer.alloc(0),
  );
  assert.equal(stderr, `${FAILED}Error opening HTTP socket: No such file or directory (os error 2)\n`);
});
