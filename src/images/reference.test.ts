import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ImageError } from './image-error.ts';
import { parseReference, showReference } from './reference.ts';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

const PARSED: readonly (readonly [string, ReturnType<typeof parseReference>])[] = [
  ['alpine', { domain: 'docker.io', repository: 'library/alpine', tag: 'latest' }],
  ['alpine:3.20', { domain: 'docker.io', repository: 'library/alpine', tag: '3.20' }],
  ['team/app', { domain: 'docker.io', repository: 'team/app', tag: 'latest' }],
  ['docker.io/alpine', { domain: 'docker.io', repository: 'library/alpine', tag: 'latest' }],
  ['index.docker.io/library/alpine', { domain: 'docker.io', repository: 'library/alpine', tag: 'latest' }],
  ['localhost/app', { domain: 'localhost', repository: 'app', tag: 'latest' }],
  ['localhost:5000/app:1', { domain: 'localhost:5000', repository: 'app', tag: '1' }],
  ['localhost:5000', { domain: 'docker.io', repository: 'library/localhost', tag: '5000' }],
  ['registry.example/a/b/c:v1', { domain: 'registry.example', repository: 'a/b/c', tag: 'v1' }],
  ['REGISTRY/app', { domain: 'REGISTRY', repository: 'app', tag: 'latest' }],
  ['[::1]:5000/app', { domain: '[::1]:5000', repository: 'app', tag: 'latest' }],
  ['[fe80::1]/app:2', { domain: '[fe80::1]', repository: 'app', tag: '2' }],
  ['10.0.0.1:80/a-b__c.d', { domain: '10.0.0.1:80', repository: 'a-b__c.d', tag: 'latest' }],
  [`alpine@${DIGEST}`, { domain: 'docker.io', repository: 'library/alpine', digest: DIGEST }],
  [`alpine:3@${DIGEST}`, { domain: 'docker.io', repository: 'library/alpine', tag: '3', digest: DIGEST }],
];

for (const [text, reference] of PARSED) {
  test(`the reference ${text.slice(0, 40)} is parsed as docker parses it`, () => {
    assert.deepEqual(parseReference(text), reference);
  });
}

const SHOWN: readonly (readonly [string, string])[] = [
  ['docker.io/library/alpine', 'alpine:latest'],
  ['team/app:1', 'team/app:1'],
  ['registry.example:5000/app', 'registry.example:5000/app:latest'],
  [`alpine@${DIGEST}`, `alpine@${DIGEST}`],
  ['docker.io/library/a/b', 'library/a/b:latest'],
];

for (const [text, shown] of SHOWN) {
  test(`the reference ${text.slice(0, 40)} is shown in its shortest form, which means the same`, () => {
    assert.equal(showReference(parseReference(text)), shown);
    assert.deepEqual(parseReference(shown), parseReference(text));
  });
}

const REFUSED: readonly (readonly [string, RegExp])[] = [
  ['', /empty; write e\.g\. alpine:3\.20/],
  ['Alpine', /lower case; write alpine/],
  ['registry.example/App:1', /lower case; write registry\.example\/app:1/],
  ['https://registry.example/app', /no https:\/\/; write registry\.example\/app/],
  ['alpine :3', /no white space; write alpine:3/],
  ['alpine:', /tag behind the colon is empty; write alpine or alpine:latest/],
  ['alpine:-x', /"-x" is not a tag/],
  [`alpine:${'a'.repeat(129)}`, /is not a tag/],
  ['a//b', /between slashes is empty/],
  ['registry.example/', /between slashes is empty/],
  ['folder/', /write \.\/folder\/ for a directory$/],
  ['../etc/passwd', /".." is not|not the host/],
  ['a/../b', /"\.\." is not a part of a name/],
  ['alpine@sha256:abc', /"sha256:abc" is not a digest/],
  [`alpine@${DIGEST.toUpperCase()}`, new RegExp(`write alpine@${DIGEST}`)],
  ['0123456789abcdef'.repeat(4), /digest, not a name; write NAME@sha256:/],
  ['registry.example:99999/app', /not the host of a registry/],
  ['-a.example/app', /not the host of a registry/],
  [`registry.example/${'a'.repeat(256)}`, /more than 255 characters/],
  ['a'.repeat(100_000), /too long/],
];

for (const [text, reason] of REFUSED) {
  test(`the reference ${JSON.stringify(text.slice(0, 40))} is refused with a remedy`, () => {
    assert.throws(
      () => parseReference(text),
      (error) => error instanceof ImageError && error.fault === 'bad-name' && reason.test(error.message),
    );
  });
}
