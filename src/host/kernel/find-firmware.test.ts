import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import {
  findFirmware,
  findVariables,
  needsSystemManagement,
  resolveFirmware,
  type FirmwarePlaces,
} from './find-firmware.ts';

interface Host extends AsyncDisposable {
  readonly at: (path: string) => string;
  readonly places: FirmwarePlaces;
  readonly describe: (file: string, description: Readonly<Record<string, unknown>>) => Promise<void>;
}

/** A folder that has the files of a host. */
async function makeHost(...files: readonly string[]): Promise<Host> {
  const root = await mkdtemp(join(tmpdir(), 'nephos-firmware-'));
  const at = (path: string): string => join(root, path);
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(at(path)), { recursive: true });
    await writeFile(at(path), text);
  };
  for (const file of files) await write(file, 'x');
  return {
    at,
    places: { descriptions: [at('etc'), at('usr/qemu')], images: [at('OVMF'), at('edk2')] },
    describe: (file, { code, variables, machines = ['pc-i440fx-*', 'pc-q35-*'], features = [], ...more }) =>
      write(
        file,
        JSON.stringify({
          'interface-types': ['uefi'],
          mapping: {
            device: 'flash',
            executable: { filename: at(String(code)), format: 'raw' },
            'nvram-template': { filename: at(String(variables)), format: 'raw' },
          },
          targets: [{ architecture: 'x86_64', machines }],
          features,
          ...more,
        }),
      ),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  };
}

test('the first usable description decides', async () => {
  await using host = await makeHost('a/CODE', 'a/VARS', 'b/CODE', 'b/VARS');
  const [a, b] = [
    { code: 'a/CODE', variables: 'a/VARS' },
    { code: 'b/CODE', variables: 'b/VARS' },
  ];
  await host.describe('usr/qemu/10-smm.json', { ...a, features: ['requires-smm'] });
  await host.describe('usr/qemu/20-q35.json', { ...a, machines: ['pc-q35-*'] });
  await host.describe('usr/qemu/30-keys.json', { ...a, features: ['enrolled-keys'] });
  await host.describe('usr/qemu/40-bios.json', { ...a, 'interface-types': ['bios'] });
  await host.describe('usr/qemu/45-missing.json', { code: 'none', variables: 'a/VARS' });
  await host.describe('usr/qemu/50-b.json', b);
  await host.describe('usr/qemu/60-a.json', a);
  assert.deepEqual(await findFirmware(host.places), {
    code: host.at('b/CODE'),
    variables: host.at('b/VARS'),
  });
  await writeFile(host.at('usr/qemu/55.json'), '{');
  await mkdir(host.at('etc'));
  await writeFile(host.at('etc/50-b.json'), '');
  assert.deepEqual(await findFirmware(host.places), {
    code: host.at('a/CODE'),
    variables: host.at('a/VARS'),
  });
});

test('without descriptions the folders of distributions are searched', async () => {
  await using host = await makeHost('OVMF/OVMF_CODE_4M.fd', 'edk2/OVMF_CODE.4m.fd', 'edk2/OVMF_VARS.4m.fd');
  // the first one has no variables
  assert.equal((await findFirmware(host.places)).code, host.at('edk2/OVMF_CODE.4m.fd'));
});

test('a host without firmware is told the packages', async () => {
  await using host = await makeHost();
  await assert.rejects(
    () => findFirmware(host.places),
    /no UEFI firmware in .*\/OVMF, .*install the package ovmf/,
  );
});

test('names are resolved, paths are not', async () => {
  await using host = await makeHost('OVMF/OVMF_CODE_4M.fd', 'OVMF/OVMF_VARS_4M.fd', 'edk2/OVMF.fd');
  for (const name of ['OVMF', 'ovmf', 'uefi', 'OVMF_CODE_4M.fd']) {
    assert.equal(await resolveFirmware(name, host.places), host.at('OVMF/OVMF_CODE_4M.fd'));
  }
  assert.equal(await resolveFirmware('OVMF.fd', host.places), host.at('edk2/OVMF.fd'));
  for (const path of ['/none/OVMF.fd', './OVMF', 'hypervisor-fw']) {
    assert.equal(await resolveFirmware(path, host.places), path);
  }
  await assert.rejects(() => resolveFirmware('OVMF_CODE.fd', host.places), /no such file here, nor in/);
});

test('the template of the variables is beside the code', async () => {
  const pairs: [code: string, variables: string][] = [
    ['OVMF_CODE.fd', 'OVMF_VARS.fd'],
    ['OVMF_CODE_4M.secboot.fd', 'OVMF_VARS_4M.fd'],
    ['OVMF_CODE_4M.ms.fd', 'OVMF_VARS_4M.ms.fd'],
    ['ovmf-x86_64-code.bin', 'ovmf-x86_64-vars.bin'],
    ['edk2-x86_64-code.fd', 'edk2-i386-vars.fd'],
  ];
  for (const [code, variables] of pairs) {
    await using host = await makeHost(`a/${code}`, `a/${variables}`);
    assert.equal(await findVariables(host.at(`a/${code}`)), host.at(`a/${variables}`));
  }
  await using host = await makeHost('a/OVMF.fd');
  assert.equal(await findVariables(host.at('a/OVMF.fd')), undefined);
});

test('a description tells that firmware needs System Management Mode, also through a link', async () => {
  await using host = await makeHost('a/SECBOOT', 'a/CODE', 'a/VARS');
  await host.describe('etc/1.json', { code: 'a/SECBOOT', variables: 'a/VARS', features: ['requires-smm'] });
  await host.describe('etc/2.json', { code: 'a/CODE', variables: 'a/VARS' });
  await symlink('SECBOOT', host.at('a/LINK'));
  assert.equal(await needsSystemManagement(host.at('a/LINK'), host.places), true);
  assert.equal(await needsSystemManagement(host.at('a/CODE'), host.places), false);
});
