import type { Phase, RouteDefinition } from './route.ts';
import { ALWAYS } from './route-kinds.ts';

/** Answers that every request can get, by status code. */
const COMMON: Readonly<Record<number, string>> = {
  400: 'The request is malformed, or breaks a rule.',
  405: 'The method is wrong, and Allow has the right one; or the state of the VM does not allow the request.',
  408: 'The head of the request was not complete in time; the connection is closed.',
  413: 'The body of the request is too large; the connection is closed.',
  431: 'The head of the request is too large; the connection is closed.',
  500: 'QEMU or the host failed.',
  503: 'There are too many connections; this one is closed.',
};

const NO_VM = 'There is no VM.';
const ACCEPTED =
  'The client prefers an asynchronous answer (Prefer: respond-async): Location has the path of the operation.';
const BEFORE_BOOT = 'The new device was added to the configuration: the VM is not booted yet.';

/** Returns the status codes of a route with their meaning: those of the contract with its texts, and all others. */
export function allAnswers(route: RouteDefinition): Readonly<Record<number, string>> {
  const { 500: failed = '', ...common } = COMMON;
  return {
    ...common,
    // an unsupported endpoint cannot fail
    ...(route.implemented ? { 500: failed } : {}),
    ...(route.implemented && ALWAYS.some((phase) => isWithoutVm(route, phase)) ? { 404: NO_VM } : {}),
    ...(route.asynchronous === true ? { 202: ACCEPTED } : {}),
    ...(route.implemented && route.replyAfterBoot === true ? { 204: BEFORE_BOOT } : {}),
    ...route.answers,
    ...route.furtherAnswers,
  };
}

/** Returns true if the route is rejected in a phase because there is no VM (404). */
function isWithoutVm({ phases, refusals }: RouteDefinition, phase: Phase): boolean {
  if (phases.includes(phase)) return false;
  return (refusals?.[phase] ?? (phase === 'none' ? 'no-vm' : 'wrong-state')) === 'no-vm';
}

/** Returns the status codes of an endpoint whose answer is a stream. */
export function streamAnswers(answers: Readonly<Record<number, string>>): Readonly<Record<number, string>> {
  const { 500: _, ...common } = COMMON;
  return {
    ...common,
    405: 'The method is wrong, and Allow has the right one.',
    503: 'There are too many connections or streams.',
    ...answers,
  };
}

/** Returns the status codes of an endpoint that makes a connection a WebSocket. */
export function upgradeAnswers(answers: Readonly<Record<number, string>>): Readonly<Record<number, string>> {
  const { 500: _, ...common } = COMMON;
  return { ...common, ...answers };
}
