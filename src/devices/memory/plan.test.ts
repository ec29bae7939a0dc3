import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ramObject, type RamBacking } from './plan.ts';

const MIB = 2 ** 20;

function propsOf(backing: Partial<RamBacking>, sparse = false) {
  const plain: RamBacking = {
    file: undefined,
    shared: false,
    mergeable: false,
    hugepages: false,
    hugepage_size: undefined,
    host_numa_node: undefined,
  };
  return ramObject({ id: 'ram', size: MIB, zones: ['z'], backing: { ...plain, ...backing }, sparse }).props;
}

const common = { id: 'ram', size: MIB, share: true, merge: false };

test('RAM is a memfd that others can map', () => {
  assert.deepEqual(propsOf({}), { 'qom-type': 'memory-backend-memfd', ...common });
  assert.deepEqual(propsOf({ mergeable: true, shared: true }), {
    'qom-type': 'memory-backend-memfd',
    ...common,
    merge: true,
  });
});

test('mergeable RAM is private', () => {
  assert.deepEqual(propsOf({ mergeable: true }), {
    'qom-type': 'memory-backend-ram',
    ...common,
    share: false,
    merge: true,
  });
});

test('a file is mapped as asked for', () => {
  const file = '/a, b="c"';
  const expected = { 'qom-type': 'memory-backend-file', ...common, 'mem-path': file };
  assert.deepEqual(propsOf({ file, shared: true }), expected);
  assert.deepEqual(propsOf({ file, hugepages: true }), { ...expected, share: false });
});

test('huge pages of a size, or of the host’s', () => {
  const expected = { 'qom-type': 'memory-backend-memfd', ...common, hugetlb: true };
  assert.deepEqual(propsOf({ hugepages: true }), expected);
  assert.deepEqual(propsOf({ hugepages: true, hugepage_size: 2 * MIB }), {
    ...expected,
    hugetlbsize: 2 * MIB,
  });
});

test('pages are bound to the configured NUMA node of the host', () => {
  const { policy, 'host-nodes': nodes } = propsOf({ host_numa_node: 3 });
  assert.deepEqual([policy, nodes], ['bind', [3]]);
});

test('memory that may never be used reserves no memory of the host', () => {
  assert.equal(propsOf({}, true)['reserve'], false);
});
