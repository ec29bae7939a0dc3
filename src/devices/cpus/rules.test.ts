import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { decode } from '../../schema/decode.ts';
import { CpusConfig } from './config.ts';
import { cpus } from './index.ts';
import { checkCpuAffinity } from './rules.ts';

const vcpus = (boot: number, max = boot) => ({ boot_vcpus: boot, max_vcpus: max });
const topology = (threads: number, cores: number, dies: number, packages: number) => ({
  threads_per_core: threads,
  cores_per_die: cores,
  dies_per_package: dies,
  packages,
});

test('the largest number of vCPUs is not below that at boot', () => {
  expectProblems(cpus, [
    [
      'fewer at most than at boot',
      vcpus(2, 1),
      ['cpus.max_vcpus: Max CPUs greater than boot CPUs (boot_vcpus 2, max_vcpus 1)'],
    ],
    ['as many', vcpus(2), []],
  ]);
});

test('the parts of a topology multiply to max_vcpus', () => {
  expectProblems(cpus, [
    ['a topology', { ...vcpus(2, 8), topology: topology(2, 2, 1, 2) }, []],
    [
      'a part that is zero',
      { ...vcpus(1), topology: topology(0, 1, 1, 1) },
      ['cpus.topology: No part of the CPU topology can be zero'],
    ],
    [
      'a product that is not the maximum',
      { ...vcpus(4), topology: topology(1, 2, 1, 1) },
      ['cpus.topology: Product of CPU topology parts does not match maximum vCPUs (2, max_vcpus 4)'],
    ],
    [
      'a product that is the maximum in 8 bits only',
      { ...vcpus(2), topology: topology(2, 129, 1, 1) },
      ['cpus.topology: Product of CPU topology parts does not match maximum vCPUs (258, max_vcpus 2)'],
    ],
  ]);
});

test('a vCPU is pinned once, and to at least one host CPU', () => {
  const problems: string[] = [];
  const affinity = [0, 1, 0].map((vcpu, i) => ({ vcpu, host_cpus: i === 1 ? [] : [0] }));
  checkCpuAffinity(decode(CpusConfig, { ...vcpus(2), affinity }), (place, reason) => {
    problems.push(`${place}: ${reason}`);
  });
  assert.deepEqual(problems, [
    'cpus.affinity[1].host_cpus: must not be empty',
    'cpus.affinity[2].vcpu: vCPU 0 is in cpus.affinity[0] already',
  ]);
});
