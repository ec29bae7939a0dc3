// `npm run manual`: renews the completions, the manual pages and the configuration reference.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { manualFiles } from '../src/cli/manual/files.ts';

for (const [path, text] of manualFiles()) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
