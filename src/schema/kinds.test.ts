import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as v from 'valibot';
import type { Field } from './field.ts';
import { choice, flag, ipv4, mac, nameOrNone, path, readToggle, text, uint } from './kinds.ts';

const accepts = (field: Field, value: unknown): boolean => v.safeParse(field.schema, value).success;
const output = (field: Field, value: unknown): unknown => v.parse(field.schema, value);

test('a number has the range of its width, and of its minimum', () => {
  const ranges: [Field, number, number][] = [
    [uint('', { bits: 8 }), 0, 255],
    [uint('', { bits: 16 }), 0, 65_535],
    [uint('', { bits: 31 }), 0, 2_147_483_647],
    [uint('', { bits: 32 }), 0, 4_294_967_295],
    [uint('', { bits: 64 }), 0, Number.MAX_SAFE_INTEGER],
    [uint('', { bits: 8, min: 1 }), 1, 255],
  ];
  for (const [field, least, most] of ranges) {
    assert.ok(accepts(field, least) && accepts(field, most), `${least}..${most}`);
    assert.ok(!accepts(field, least - 1) && !accepts(field, most + 1), `${least}..${most}`);
  }
  for (const value of [1.5, '1', true, null, [], Number.NaN, Infinity]) {
    assert.ok(!accepts(uint('', { bits: 64 }), value), String(value));
  }
});

test('a number on the command line has its width, but no minimum and no suffix', () => {
  const { read } = uint('', { bits: 8, min: 1 });
  assert.equal(read?.('0'), 0);
  assert.equal(read?.('+255'), 255);
  for (const text of ['256', '-1', '1K', '0x1', '1.0', 'one', ' 1']) assert.throws(() => read?.(text), text);
});

test('toggles are on, off, true and false in any case', () => {
  for (const word of ['on', 'ON', 'true', 'True']) assert.equal(readToggle(word), true);
  for (const word of ['off', 'Off', 'false', 'FALSE']) assert.equal(readToggle(word), false);
  for (const word of ['1', '0', 'yes', 'no', '']) assert.throws(() => readToggle(word), word);
  for (const value of ['on', 1, 0, null]) assert.ok(!accepts(flag(''), value));
});

test('MAC addresses are six groups of two hex digits, answered in lower case', () => {
  assert.equal(output(mac(''), '12:34:56:78:9A:BC'), '12:34:56:78:9a:bc');
  for (const value of ['12:34:56:78:9a', '1:2:3:4:5:6', '12-34-56-78-9a-bc', '12:34:56:78:9a:bg', '', 1]) {
    assert.ok(!accepts(mac(''), value), String(value));
  }
});

test('IPv4 addresses are dotted quads', () => {
  for (const value of ['0.0.0.0', '192.168.249.1', '255.255.255.255']) assert.ok(accepts(ipv4(''), value));
  for (const value of ['256.0.0.1', '1.2.3', '1.2.3.4.5', '01.2.3.4', '::1', 'a.b.c.d', '']) {
    assert.ok(!accepts(ipv4(''), value), value);
  }
});

test('a name whose default is the empty text reads undefined for it', () => {
  const name = nameOrNone('', '<name>');
  for (const value of ['', null, undefined]) assert.equal(output(name, value), undefined);
  assert.equal(output(name, 'tap0'), 'tap0');
  assert.deepEqual(name.document, { type: 'string', default: '' });
});

test('choices refuse what is none of them, in JSON and in words', () => {
  const method = choice('', ['Acpi', 'VirtioMem'], { aliases: { 'virtio-mem': 'VirtioMem' } });
  for (const value of ['', 'acp', 'virtio', 1, null]) assert.ok(!accepts(method, value), String(value));
  assert.equal(method.read?.('VIRTIO-MEM'), 'VirtioMem');
  assert.throws(() => method.read?.('dimm'));
  assert.equal(method.syntax, 'acpi|virtio-mem');
});

test('text holds no NUL', () => {
  assert.ok(accepts(text(''), 'ä\n"'));
  assert.ok(!accepts(text(''), 'a\0'));
});

test('a text has whole characters, at most as many as its bound', () => {
  for (const value of ['', 'é \u{1f4a5}', 'a'.repeat(131_072)]) assert.ok(accepts(text(''), value));
  for (const value of ['\ud83d', 'a\udca5b', 'a\0', 'a'.repeat(131_073)])
    assert.ok(!accepts(text(''), value));
  assert.ok(!accepts(path(''), 'a'.repeat(4096)));
});
