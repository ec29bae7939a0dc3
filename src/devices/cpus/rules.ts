import { checkAffinities, type Report, type RuleContext } from '../common/rules.ts';
import type { CpusConfig } from './config.ts';

/** Checks the numbers of vCPUs and their topology. The texts are those of Cloud Hypervisor. */
export function checkCpus(
  { boot_vcpus: boot, max_vcpus: max, topology }: CpusConfig,
  { place, report }: RuleContext,
): void {
  // the text of Cloud Hypervisor states the opposite of the rule; the numbers show the problem
  if (max < boot) {
    const numbers = `(boot_vcpus ${boot}, max_vcpus ${max})`;
    report(`${place}.max_vcpus`, `Max CPUs greater than boot CPUs ${numbers}`);
  }
  if (topology === undefined) return;
  const parts = Object.values(topology);
  if (parts.includes(0)) report(`${place}.topology`, 'No part of the CPU topology can be zero');
  const product = parts.reduce((total, one) => total * one, 1);
  if (product === max || product === 0) return;
  const numbers = `(${product}, max_vcpus ${max})`;
  report(`${place}.topology`, `Product of CPU topology parts does not match maximum vCPUs ${numbers}`);
}

/** Checks the host CPUs that vCPUs are pinned to. */
export function checkCpuAffinity({ affinity = [] }: CpusConfig, report: Report): void {
  const items = affinity.map(({ vcpu, host_cpus: hostCpus }) => ({ number: vcpu, hostCpus }));
  checkAffinities(items, { place: 'cpus.affinity', what: 'vCPU', member: 'vcpu', report });
}
