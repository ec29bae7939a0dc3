import type { ApiRequest } from './document.ts';

/** Order of the buttons: those of a running VM first, vmm.shutdown last. Others are in between. */
const ORDER: readonly string[] = [
  'vm.boot',
  'vm.pause',
  'vm.resume',
  'vm.power-button',
  'vm.reboot',
  'vm.shutdown',
];
const LAST: readonly string[] = ['vm.delete', 'vmm.shutdown'];

/** Requests that have another name too, or that no button should send. */
const LEFT_OUT: ReadonlySet<string> = new Set(['vmm.nmi']);

/** Requests after which the guest loses what it had not stored; a user confirms them. */
const CONFIRMED: ReadonlySet<string> = new Set([
  'vm.shutdown',
  'vm.reboot',
  'vm.delete',
  'vm.nmi',
  'vmm.shutdown',
]);

/** Returns the requests without a body that a button sends, legal or not: buttons keep their places. */
export function buttonsOf(requests: readonly ApiRequest[]): ApiRequest[] {
  return requests
    .filter(({ name, method, body }) => method === 'PUT' && body === undefined && !LEFT_OUT.has(name))
    .toSorted((a, b) => positionOf(a) - positionOf(b));
}

function positionOf({ name }: ApiRequest): number {
  if (LAST.includes(name)) return ORDER.length + 1 + LAST.indexOf(name);
  return ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length;
}

/** Returns the requests with a body that may be sent in a phase. */
export function formsOf(requests: readonly ApiRequest[], phase: string): ApiRequest[] {
  return requests.filter(
    ({ method, body, phases }) => method === 'PUT' && body !== undefined && phases.includes(phase),
  );
}

export function needsConfirmation({ name }: ApiRequest): boolean {
  return CONFIRMED.has(name);
}
