import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from '../../api/errors.ts';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { placeDevices } from '../../plan/placement.ts';
import { createPreparations, type Preparations } from '../devices/preparations.ts';
import { launchQemu } from './launch-qemu.ts';
import { planLaunch, type PlannedMachine } from './planned-machine.ts';

function planned(): PlannedMachine {
  const { config } = decodeVmConfig({ kernel: { path: '/k' } });
  const layout = placeDevices(config);
  return planLaunch(
    { config, bootConfig: config, layout, acpiPatch: undefined },
    {
      accelerator: { name: 'tcg', properties: {}, skipsTimerCheck: false },
      kernel: { kind: 'none', firmware: 'qboot.rom' },
      initramfs: undefined,
      facts: new Map(),
    },
  );
}

/** Calls `act` with a QEMU that never answers; `act` gets the file that it writes its pid to. */
async function withSilentQemu(act: (pidFile: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'launch-'));
  const [program, pidFile] = [join(folder, 'qemu'), join(folder, 'pid')];
  writeFileSync(program, `#!/bin/sh\necho $$ > ${pidFile}\nexec sleep 60\n`);
  chmodSync(program, 0o755);
  const before = process.env['NEPHOS_QEMU'];
  process.env['NEPHOS_QEMU'] = program;
  try {
    await act(pidFile);
  } finally {
    if (before === undefined) delete process.env['NEPHOS_QEMU'];
    else process.env['NEPHOS_QEMU'] = before;
    rmSync(folder, { recursive: true });
  }
}

/** Waits until a file has a line. */
async function lineOf(path: string): Promise<string> {
  for (;;) {
    const text = await readFile(path, 'utf8').catch(() => '');
    if (text.endsWith('\n')) return text.trim();
    await delay(5);
  }
}

function launch(startBackEnds: Preparations['startBackEnds'], kill = new AbortController().signal) {
  const signals = { waits: new AbortController().signal, kill };
  const preparations = { ...createPreparations(), startBackEnds };
  return launchQemu({ signals, preparations, ownQemu: () => undefined }, planned());
}

test('a back-end that fails ends the start of QEMU, and its error is that of the start', () =>
  withSilentQemu(async (pidFile) => {
    const failure = new ApiError('failed', 'fs _fs0: directory /d: no such file or directory');
    const failing = async (): Promise<void> => {
      await lineOf(pidFile);
      throw failure;
    };
    await assert.rejects(launch(failing), failure);
    const pid = Number(await lineOf(pidFile));
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  }));

test('a start that is aborted does not wait for a back-end', () =>
  withSilentQemu(async (pidFile) => {
    const kill = new AbortController();
    const started = launch(() => new Promise(() => undefined), kill.signal);
    await lineOf(pidFile);
    kill.abort();
    await assert.rejects(started, { message: 'QEMU could not be started: the start was ended' });
  }));
