import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROTOCOL_FEATURES, Request, type Message } from './message.ts';
import { createRingEnables, type Routed } from './ring-enables.ts';

const [VERSION, REPLY, NEED_REPLY] = [1, 4, 8];
const GET_FEATURES = 1;

function message(request: number, payload: Buffer = Buffer.alloc(0), flags = VERSION): Message {
  return { request, flags, payload, fds: [] };
}

function enable(ring: number, value: number, flags = VERSION): Message {
  const payload = Buffer.alloc(8);
  payload.writeUInt32LE(ring, 0);
  payload.writeUInt32LE(value, 4);
  return message(Request.SetVringEnable, payload, flags);
}

function acknowledge(features: bigint): Message {
  const payload = Buffer.alloc(8);
  payload.writeBigUInt64LE(features, 0);
  return message(Request.SetFeatures, payload);
}

const nothing: Routed = { toBackEnd: [], toFrontEnd: [] };
const onward = (...messages: Message[]): Routed => ({ toBackEnd: messages, toFrontEnd: [] });

test('a ring is enabled after the features are acknowledged, by the last request of each ring', () => {
  const route = createRingEnables();
  const [first, second] = [enable(0, 1), enable(1, 1)];
  assert.deepEqual(route(message(GET_FEATURES)), onward(message(GET_FEATURES)));
  assert.deepEqual(route(first), nothing);
  assert.deepEqual(route(enable(1, 0)), nothing);
  assert.deepEqual(route(second), nothing);
  const features = acknowledge(PROTOCOL_FEATURES | 1n);
  assert.deepEqual(route(features), onward(features, first, second));
  assert.deepEqual(route(enable(1, 0)), onward(enable(1, 0)), 'at once from then on');
  assert.deepEqual(route(features), onward(features), 'nothing is sent twice');
});

test('QEMU gets one acknowledgement, before the back-end gets the message', () => {
  const route = createRingEnables();
  const reply = message(Request.SetVringEnable, Buffer.alloc(8), VERSION | REPLY);
  assert.deepEqual(route(enable(0, 1, VERSION | NEED_REPLY)), { toBackEnd: [], toFrontEnd: [reply] });
  const features = acknowledge(PROTOCOL_FEATURES);
  assert.deepEqual(route(features), onward(features, enable(0, 1)));
});

test('where the feature is not acknowledged the rings are enabled without a message', () => {
  const route = createRingEnables();
  route(enable(0, 1));
  assert.deepEqual(route(acknowledge(1n)), onward(acknowledge(1n)));
  assert.deepEqual(route(enable(0, 1)), nothing);
});

test('a reset clears the features', () => {
  for (const request of [Request.ResetDevice, Request.ResetOwner]) {
    const route = createRingEnables();
    const features = acknowledge(PROTOCOL_FEATURES);
    route(features);
    assert.deepEqual(route(message(request)), onward(message(request)));
    assert.deepEqual(route(enable(0, 1)), nothing);
    assert.deepEqual(route(features), onward(features, enable(0, 1)));
  }
});

test('a message that is too short is passed to the back-end', () => {
  const route = createRingEnables();
  for (const request of [Request.SetVringEnable, Request.SetFeatures]) {
    const short = message(request, Buffer.alloc(4));
    assert.deepEqual(route(short), onward(short));
  }
});
