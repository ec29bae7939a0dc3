/** Answers of the API, decoded by the schemas of the API instead of casts. */
import assert from 'node:assert/strict';
import * as v from 'valibot';
import { PciDeviceInfo } from '../../src/api/replies.ts';

/** An answer of the API; `json` is undefined where there is no body. */
export interface Answer {
  readonly status: number;
  readonly json: unknown;
}

/** Fails with the answer's body where the status is another. */
export function assertStatus(answer: Answer, status: number): void {
  assert.equal(answer.status, status, `answered ${answer.status} ${JSON.stringify(answer.json)}`);
}

const Messages = v.array(v.string());

/** Messages of an error answer, outermost first: the failed operation, then the reason. */
export function messagesOf({ json }: Answer): string[] {
  return v.parse(Messages, json);
}

/** Fails where an answer is not this error; `reason` is matched against its messages, joined by `: `. */
export function assertRefused(answer: Answer, status: number, reason: RegExp | string): void {
  assertStatus(answer, status);
  const text = messagesOf(answer).join(': ');
  if (typeof reason === 'string') assert.ok(text.includes(reason), `${text}, without ${reason}`);
  else assert.match(text, reason);
}

/** Id and PCI address of the device in the answer of `vm.add-*` of a running VM. */
export function addedDevice(answer: Answer): PciDeviceInfo {
  assertStatus(answer, 200);
  return v.parse(PciDeviceInfo.schema, answer.json);
}
