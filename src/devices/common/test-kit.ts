import assert from 'node:assert/strict';
import { decode } from '../../schema/decode.ts';
import type { AnyConfig, Device } from '../device.ts';
import type { RuleContext } from './rules.ts';
import type { Step } from './step.ts';

/*
 * Helpers of the unit tests of devices: they decode a configuration as a request has it, then apply the rules or the plan of its
 * kind.
 */

/** Returns the problems that the rules of a kind report for one item, or for the items of a list. */
export function problemsOf(device: Device, json: unknown, context: Partial<RuleContext> = {}): string[] {
  const problems: string[] = [];
  const report: RuleContext['report'] = (place, reason) => void problems.push(`${place}: ${reason}`);
  const list: readonly unknown[] = Array.isArray(json) ? json : [json];
  const configs = list.map((item) => decoded(device, item));
  for (const [i, config] of configs.entries()) {
    const place = device.many ? `${device.member}[${i}]` : device.member;
    device.check?.(config, { place, bootVcpus: 1, sharesRam: false, ram: 2 ** 30, report, ...context });
  }
  device.checkList?.(configs, report);
  return problems;
}

/** A test case: its name, the configuration (or a list of them), the problems that it has. */
export type RuleCase = readonly [name: string, json: unknown, problems: readonly string[]];

/** Asserts the problems of several configurations. */
export function expectProblems(
  device: Device,
  cases: readonly RuleCase[],
  context: Partial<RuleContext> = {},
): void {
  for (const [name, json, problems] of cases) {
    assert.deepEqual(problemsOf(device, json, context), problems, name);
  }
}

/** Returns the steps of a device at slot 5 with id `_x`, or `x` in QEMU's alphabet. */
export function stepsOf(
  device: Device,
  json: unknown,
  { facts, behindIommu = false }: { readonly facts?: unknown; readonly behindIommu?: boolean } = {},
): readonly Step[] {
  const config = decoded(device, json);
  return device.plan?.(config, { id: '_x', qemuId: 'x', addr: '5', behindIommu, facts }) ?? [];
}

/** Returns the properties of the step that makes a device by one of QEMU's drivers. */
export function propsOf(steps: readonly Step[], driver: string): Readonly<Record<string, unknown>> {
  const step = steps.find((one) => one.kind === 'device' && one.props.driver === driver);
  assert.ok(step?.kind === 'device', `no ${driver}`);
  return step.props;
}

function decoded({ struct }: Device, json: unknown): AnyConfig {
  return struct === undefined ? true : decode(struct, json);
}
