import { test } from 'node:test';

import { TestServer, PING, golden } from './test-kit.ts';

const GET_PING = 'GET /api/v1/vmm.ping HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n';
const OK_PING =
  'HTTP/1.1 200 \r\n' +
  'Server: Cloud Hypervisor API\r\n' +
  'Connection: keep-alive\r\n' +
  'Content-Type: application/json\r\n' +
  'Content-Length: 42\r\n' +
  '\r\n' +
  '{"version":"1.0","build_version":"\\u00e9"}';
const NO_CONTENT = 'HTTP/1.1 204 \r\nServer: Cloud Hypervisor API\r\nConnection: keep-alive\r\n\r\n';

function put(name: string, headers: string, body = ''): string {
  return `PUT /api/v1/${name} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n${body}`;
}

test('the bytes of an answer with a body', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  await client.send(GET_PING).expect(OK_PING);
});

test('the bytes of an answer without a body, again and again on one connection', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  for (let i = 0; i < 3; i += 1) await client.send(put('vm.boot', '')).expect(NO_CONTENT);
  await client.send(GET_PING).expect(OK_PING);
});

test('the bytes of an error answer', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  await client
    .send(put('vm.pause', ''))
    .expect(
      'HTTP/1.1 405 \r\n' +
        'Server: Cloud Hypervisor API\r\n' +
        'Connection: keep-alive\r\n' +
        'Content-Type: application/json\r\n' +
        'Content-Length: 39\r\n' +
        '\r\n' +
        '["vm.pause failed","VM is not running"]',
    );
});

for (const [what, headers, body] of [
  ['no length', '', ''],
  ['a length of 0', 'Content-Length: 0\r\n', ''],
  ['an empty chunked body', 'Transfer-Encoding: chunked\r\n', '0\r\n\r\n'],
] as const) {
  test(`a PUT without body, announced by ${what}`, async () => {
    await using server = await TestServer.start();
    using client = server.client();
    await client.send(put('vm.boot', headers, body)).expect(NO_CONTENT);
    await client.send(put('vmm.shutdown', headers, body)).expect(NO_CONTENT);
    client.send(put('vm.create', headers, body));
    await client.expectMessages(400, 'vm.create failed', 'Request body is missing');
    await client.send(GET_PING).expect(OK_PING);
  });
}

test('a body where none belongs', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send(put('vm.boot', 'Content-Length: 2\r\n', '{}'));
  await client.expectMessages(400, 'vm.boot failed', 'Request body must be empty');
  await client.send(put('vmm.shutdown', 'Content-Length: 5\r\n', '{not ')).expect(NO_CONTENT);
  await client.send(put('vm.boot', '')).expect(NO_CONTENT);
});

test('the content type and the host are never asked for', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  await client.send('GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n').expect(OK_PING);
  client.send('PUT /api/v1/vm.echo HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n[ 1]');
  await client.expect(golden(200, '[1]'));
});

test('HTTP/1.0 keeps a connection only on request', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send('PUT /api/v1/vm.boot HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n');
  await client.expect(NO_CONTENT);
  await client.send('GET /api/v1/vmm.ping HTTP/1.0\r\n\r\n').expect(golden(200, PING, 'close'));
  await client.expectEnd();
});

test('a connection is closed where the client asks for it', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send('GET /api/v1/vmm.ping HTTP/1.1\r\nConnection: close\r\n\r\n');
  await client.expect(golden(200, PING, 'close'));
  await client.expectEnd();
});

test('a client that offers an upgrade gets a plain answer', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send('GET /api/v1/vmm.ping HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
  await client.expect(golden(200, PING, 'close'));
  await client.expectEnd();
});

test('Expect: 100-continue, with a length and in chunks', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send(put('vm.echo', 'Expect: 100-continue\r\nContent-Length: 4\r\n'));
  await client.expect('HTTP/1.1 100 \r\n\r\n');
  await client.send('"ab"').expect(golden(200, '"ab"'));
  client.send(put('vm.boot', 'Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n'));
  await client.expect('HTTP/1.1 100 \r\n\r\n');
  await client.send('0\r\n\r\n').expect(NO_CONTENT);
  await client.send(put('vm.boot', 'Expect: 100-continue\r\n')).expect(NO_CONTENT);
  await client.send(put('vm.boot', 'Expect: something\r\n')).expect(NO_CONTENT);
  await client.send(GET_PING).expect(OK_PING);
});

test('a pipelined request behind Expect: 100-continue waits for its turn', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send(GET_PING + put('vm.echo', 'Expect: 100-continue\r\nContent-Length: 1\r\n'));
  await client.expect(`${OK_PING}HTTP/1.1 100 \r\n\r\n`);
  await client.send(`1${GET_PING}`).expect(golden(200, '1') + OK_PING);
});

for (const target of [
  '/api/v1/vm.nothing',
  '/api/v1/vmm.ping?x=1',
  '/api/v1/vmm.ping/',
  '/api/v1/vmm%2Eping',
  '/api/v1/',
  '/api/v1',
  '//api/v1/vmm.ping',
  '/api/v1/VMM.ping',
  '/api/v1/constructor',
  '/',
  '*',
  'http://localhost',
  'HTTP://localhost/api/v1/vmm.ping',
]) {
  test(`an unknown path: ${target}`, async () => {
    await using server = await TestServer.start();
    using client = server.client();
    await client.send(`GET ${target} HTTP/1.1\r\n\r\n`).expectMessages(404, /^No such endpoint: /);
    client.send(`PUT ${target} HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc`);
    await client.expectMessages(404, /^No such endpoint: /);
    await client.send(GET_PING).expect(OK_PING);
  });
}

test('an absolute-form target', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  await client.send('GET http://localhost/api/v1/vmm.ping HTTP/1.1\r\n\r\n').expect(OK_PING);
});

for (const method of ['PUT', 'PATCH', 'POST', 'DELETE', 'OPTIONS']) {
  test(`the wrong verb: ${method}`, async () => {
    await using server = await TestServer.start();
    using client = server.client();
    client.send(`${method} /api/v1/vmm.ping HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}`);
    await client.expectMessages(400, 'vmm.ping failed', `Method ${method} is not allowed here, use GET`);
    await client.send(GET_PING).expect(OK_PING);
  });
}

test('HEAD is answered without a body', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  await client.send('HEAD /api/v1/vmm.ping HTTP/1.1\r\n\r\n').expect(golden(400));
  await client.send('HEAD /api/v1/none HTTP/1.1\r\n\r\n').expect(golden(404));
  await client.send(GET_PING).expect(OK_PING);
});

test('a client that has closed its sending side gets its answers, then the end', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send(GET_PING + put('vm.boot', '')).socket.end();
  await client.expect(OK_PING + NO_CONTENT);
  await client.expectEnd();
});
