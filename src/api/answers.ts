import type { Phase, RouteDefinition } from './route.ts';
import { ALWAYS } from './route-kinds.ts';

/** What every request may be answered, by status code. */
const COMMON: Readonly<Record<number, string>> = {
  400: 'The request is malformed, or against a rule.',
  405: 'The path has another verb, which Allow names, or the VM is in a state that does not allow the request.',
  408: 'The head of the request was not whole in time; the connection is closed.',
  413: 'The body of the request is too large; the connection is closed.',
  431: 'The head of the request is too large; the connection is closed.',
  500: 'QEMU or the host could not do it.',
  503: 'There are too many connections; this one is closed.',
};

const NO_VM = 'There is no VM.';
const BEFORE_BOOT = 'The new device was added to the configuration: the VM is not booted yet.';

/** The status codes that a route can answer, and what they mean: those of the contract in its words, then all others. */
export function allAnswers(route: RouteDefinition): Readonly<Record<number, string>> {
  const { 500: failed = '', ...common } = COMMON;
  return {
    ...common,
    // what is never tried cannot fail
    ...(route.implemented ? { 500: failed } : {}),
    ...(route.implemented && ALWAYS.some((phase) => isWithoutVm(route, phase)) ? { 404: NO_VM } : {}),
    ...(route.implemented && route.replyAfterBoot === true ? { 204: BEFORE_BOOT } : {}),
    ...route.answers,
    ...route.furtherAnswers,
  };
}

/** Whether a phase in which the route may not be called is told as that there is no VM. */
function isWithoutVm({ phases, refusals }: RouteDefinition, phase: Phase): boolean {
  if (phases.includes(phase)) return false;
  return (refusals?.[phase] ?? (phase === 'none' ? 'no-vm' : 'wrong-state')) === 'no-vm';
}
