/** Live migrations between two VMMs. */
import { existsSync } from 'node:fs';
import { type Answer, assertStatus } from './answers.ts';
import type { TestVmm } from './vmm.ts';
import { until } from './wait.ts';

/** Waits until a VMM that was asked to receive a VM listens for it. */
export async function untilReceiving(destination: TestVmm, url: string, from = 0): Promise<void> {
  await until(
    'the destination waits for a VM',
    () => destination.output().includes(`${url}: waiting for a VM`, from),
    destination.output,
  );
  if (url.startsWith('unix:')) {
    const path = url.slice('unix:'.length);
    await until('the socket of the destination is there', () => existsSync(path), destination.output);
  }
}

/** Requests both ends of a live migration and returns both answers, of any status. */
export async function tryMigration(
  source: TestVmm,
  destination: TestVmm,
  url: string,
): Promise<{ readonly sent: Answer; readonly received: Answer }> {
  const from = destination.output().length;
  const receiving = destination.put('vm.receive-migration', { receiver_url: url });
  await untilReceiving(destination, url, from);
  const sent = await source.put('vm.send-migration', { destination_url: url });
  return { sent, received: await receiving };
}

/** Migrates a VM; fails where one of the ends does. */
export async function migrate(source: TestVmm, destination: TestVmm, url: string): Promise<void> {
  const { sent, received } = await tryMigration(source, destination, url);
  assertStatus(sent, 204);
  assertStatus(received, 204);
}
