import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../../src/host/files/cache-folder.ts';

/**
 * Copies the guest tools of this user's cache into another cache; they are built again otherwise, from packages of the network.
 * Modes are kept, as a folder of tools that others can read is refused (`cpSync` of Node 24 does not keep them).
 */
export function copyGuestTools(cache: string): void {
  const tools = join(cacheFolder(), 'guest-tools');
  if (existsSync(tools)) execFileSync('cp', ['-a', '--', tools, join(cache, 'guest-tools')]);
}
