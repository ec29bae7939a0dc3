import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../../schema/decode.ts';
import type { Report } from '../common/rules.ts';
import { NumaConfig } from './config.ts';
import { checkDistances, checkNodeNumbers, checkOwners } from './rules.ts';

const nodesOf = (...nodes: readonly object[]) => nodes.map((node) => decode(NumaConfig, node));

/** Returns the problems that a rule reports. */
function reported(rule: (report: Report) => void): string[] {
  const problems: string[] = [];
  rule((place, reason) => void problems.push(`${place}: ${reason}`));
  return problems;
}

test('each NUMA node has a number of its own, and QEMU has 128', () => {
  const problems = (count: number) => {
    const nodes = nodesOf(...Array.from({ length: count }, (_, i) => ({ guest_numa_id: i })));
    return reported((report) => checkNodeNumbers(nodes, report));
  };
  assert.deepEqual(problems(128), []);
  assert.deepEqual(problems(129), ['numa: more than 128 nodes']);
  assert.deepEqual(
    reported((report) => checkNodeNumbers(nodesOf({}, {}), report)),
    ['numa[1].guest_numa_id: 0 is taken by numa[0]'],
  );
});

test('distances are to nodes of the guest, once each, and what ACPI can hold', () => {
  const problems = (...distances: readonly object[]) => {
    const [node] = nodesOf({ distances });
    assert.ok(node !== undefined);
    return reported((report) => checkDistances(node, { place: 'numa[0]', nodes: [0, 1], report }));
  };
  assert.deepEqual(problems({ destination: 2, distance: 20 }), [
    'numa[0].distances[0].destination: no NUMA node 2',
  ]);
  assert.deepEqual(problems({ destination: 1, distance: 20 }, { destination: 1, distance: 30 }), [
    'numa[0].distances[1].destination: node 1 is listed twice',
  ]);
  assert.deepEqual(problems({ destination: 1, distance: 9 }, { distance: 20 }), [
    'numa[0].distances[0].distance: must be at least 10, got 9',
    'numa[0].distances[1].distance: a node is 10 from itself',
  ]);
});

test('a vCPU and a memory zone belong to one node at most', () => {
  const node = { cpus: [0], memory_zones: ['mem0'] };
  const nodes = nodesOf(node, { guest_numa_id: 1, ...node });
  assert.deepEqual(
    reported((report) => {
      checkOwners(nodes, 'cpus', report);
      checkOwners(nodes, 'memory_zones', report);
    }),
    [
      'numa[1].cpus[0]: 0 is listed in numa[0].cpus[0] already',
      'numa[1].memory_zones[0]: mem0 is listed in numa[0].memory_zones[0] already',
    ],
  );
});
