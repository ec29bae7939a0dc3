import type { TestVmm } from './vmm.ts';

/** What the tests look at in vm.info's answer. */
export interface Info {
  readonly state: string;
  readonly config: {
    readonly serial: { readonly mode: string; readonly file?: string };
    readonly console: { readonly mode: string; readonly file?: string };
  };
  readonly device_tree?: Readonly<Record<string, unknown>>;
}

/** Asks for vm.info. */
export async function infoOf(vmm: TestVmm): Promise<Info> {
  return (await vmm.get('vm.info')).json as Info;
}

/** The state in vm.info. */
export async function stateOf(vmm: TestVmm): Promise<string> {
  return (await infoOf(vmm)).state;
}
