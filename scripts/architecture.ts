// `npm run architecture`: renews the pictures of docs/architecture.md after a change of folders or imports.
import { readFileSync, writeFileSync } from 'node:fs';
import { DOCUMENT, withPictures } from './check/architecture.ts';
import { readSources } from './check/sources.ts';

writeFileSync(DOCUMENT, withPictures(readFileSync(DOCUMENT, 'utf8'), readSources('.')));
