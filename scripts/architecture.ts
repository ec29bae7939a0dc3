// `npm run architecture`: renews the pictures of docs/architecture.md after a change of folders or imports, and the linter's
// rules of the layers.
import { readFileSync, writeFileSync } from 'node:fs';
import { DOCUMENT, withPictures } from './check/architecture.ts';
import { LINT_FILE, lintRules } from './check/lint-layers.ts';
import { readSources } from './check/sources.ts';

writeFileSync(DOCUMENT, withPictures(readFileSync(DOCUMENT, 'utf8'), readSources('.')));
writeFileSync(LINT_FILE, lintRules());
