// The spelling check: words of comments, documents and messages that are neither in the British English dictionary nor in
// the project's (dictionary.txt: one word a line, sorted).
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { decodeTrie } from 'cspell-trie-lib';
import { locate, type Finding } from './findings.ts';
import { passagesOf, type Passage } from './passages.ts';
import type { SourceFile } from './sources.ts';

export interface Dictionary {
  readonly has: (word: string) => boolean;
  readonly suggest: (word: string) => string[];
}

/** A word that is close by its letters is among the first. */
const SUGGESTIONS = 4;

/** Loads the English dictionary and adds words to it. A word in lower case is also known with a capital. */
export function loadDictionary(projectWords: readonly string[]): Dictionary {
  const settings = createRequire(import.meta.url).resolve('@cspell/dict-en-gb-mit/cspell-ext.json');
  const path = join(dirname(settings), 'en_GB.trie.gz');
  const english = decodeTrie(gunzipSync(readFileSync(path)));
  const added = new Set(projectWords);
  const isKnown = (word: string): boolean => added.has(word) || english.has(word);
  return {
    has: (word) => isKnown(word) || (/^[A-Z]/.test(word) && isKnown(word.toLowerCase())),
    suggest: (word) =>
      english.suggest(word, { numSuggestions: SUGGESTIONS, timeout: 2000 }).slice(0, SUGGESTIONS),
  };
}

/** Returns the unknown words of a file, in no particular order. Generated pages have the texts of their sources. */
export function findMisspellings(file: SourceFile, dictionary: Dictionary): Finding[] {
  if (/^(?:man|completions)\//.test(file.path)) return [];
  return passagesOf(file)
    .flatMap((passage) => (passage.kind === 'code' ? messagesOf(file.path, passage) : [passage]))
    .flatMap(({ start, text }) =>
      wordsOf(text)
        .filter(({ word }) => !dictionary.has(word))
        .map(({ at, word }) => locate(file, start + at, { word, write: adviceFor(word, dictionary) })),
    );
}

function adviceFor(word: string, dictionary: Dictionary): string {
  const suggestions = dictionary.suggest(word).map((one) => `"${one}"`);
  return [...suggestions, 'a name in backticks', 'or add the word to scripts/check/dictionary.txt'].join(
    ', ',
  );
}

/** String literals that hold sentences (four words or more); of tests their titles only: the rest is input. */
function messagesOf(path: string, { start, text }: Passage): Pick<Passage, 'start' | 'text'>[] {
  const literal = path.endsWith('.test.ts') ? TITLE : LITERAL;
  return [...text.matchAll(literal)]
    .filter(([, , message = '']) => /^[^{}/=<>|$]*$/.test(message) && message.trim().split(/\s+/).length > 3)
    .map((match) => ({ start: start + match.index, text: match[0].replaceAll(/\\./g, '  ') }));
}

const LITERAL = /(['"`])((?:(?!\1)[^\\\n]|\\.)+)\1/g;
const TITLE = /(?<=\btest\()(['"`])((?:(?!\1)[^\\\n]|\\.)+)\1/g;

/** Shorter ones are units, registers and names of variables. */
const SHORTEST_WORD = 3;

/** Words in plain letters. Names in backticks, paths, URLs, options, identifiers and numbers with units are left out. */
function wordsOf(text: string): { at: number; word: string }[] {
  const plain = text.replaceAll(/`[^`]*`|\]\([^)]*\)|<[^<>\s]*>/g, (span) => ' '.repeat(span.length));
  return [...plain.matchAll(/\S+/g)].flatMap((token) => {
    const [shown] = token;
    const lead = /^[^\w\p{L}/.$@-]*/u.exec(shown)?.[0].length ?? 0;
    const word = shown.slice(lead).replace(/(?:['’]s)?[^\w\p{L}]*$/u, '');
    if (!/^\p{L}[\p{Ll}'’-]*(?:[-/]\p{Lu}?[\p{Ll}'’]+)*$/u.test(word)) return [];
    return [...word.matchAll(/[\p{L}'’]+/gu)]
      .map((part) => ({
        at: token.index + lead + part.index,
        word: part[0].replace(/['’]s$/, '').replaceAll('’', "'"),
      }))
      .filter((part) => part.word.length >= SHORTEST_WORD);
  });
}
