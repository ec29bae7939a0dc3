import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Phase } from '../api/route.ts';
import { ROUTES, type RouteName } from '../api/routes.ts';
import { phaseAfter, stateAfter, TRANSITIONS, type Transition } from './transitions.ts';

const PHASES: readonly Phase[] = ['none', 'Created', 'Running', 'Paused', 'Shutdown'];

/** Routes that change the VM's state, and the transitions that their requests are. */
const OF_ROUTES: readonly (readonly [RouteName, readonly Transition[]])[] = [
  ['vm.create', ['create']],
  ['vm.boot', ['boot', 'resume']],
  ['vm.boot', ['boot-stopped', 'resume']],
  ['vm.pause', ['pause']],
  ['vm.resume', ['resume']],
  ['vm.reboot', ['reboot']],
  ['vm.reboot', ['reboot-stopped']],
  ['vm.shutdown', ['shutdown']],
  ['vm.delete', ['delete']],
  ['vm.restore', ['restore']],
  ['vm.receive-migration', ['receive-migration']],
  ['vm.send-migration', ['send-migration']],
];

function startsOf(transition: Transition): string[] {
  return Object.keys(TRANSITIONS[transition]);
}

for (const [route, transitions] of OF_ROUTES) {
  test(`${route} is legal where ${transitions.join(' or ')} starts, and nowhere else`, () => {
    assert.deepEqual(transitions.flatMap(startsOf).toSorted(), [...ROUTES[route].phases].toSorted());
  });
}

test('every transition that is not in the table throws, naming state and transition', () => {
  for (const [name, targets] of Object.entries(TRANSITIONS)) {
    const legal = new Map<string, string>(Object.entries(targets));
    for (const phase of PHASES) {
      // the names are the table's own
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const move = (): Phase => phaseAfter(name as Transition, phase);
      if (legal.has(phase)) assert.equal(move(), legal.get(phase));
      else assert.throws(move, new RegExp(`the VM is ${phase}: .*"${name}"`));
    }
  }
});

test('a debugger pauses and resumes the vCPUs', () => {
  assert.deepEqual(TRANSITIONS['debugger-stop'], TRANSITIONS.pause);
  assert.deepEqual(TRANSITIONS['debugger-continue'], TRANSITIONS.resume);
});

test('a VM that is shut down can be booted again, one that is deleted cannot', () => {
  assert.equal(stateAfter('boot', stateAfter('shutdown', 'Running')), 'Running');
  assert.throws(() => stateAfter('boot', phaseAfter('delete', 'Running')));
});
