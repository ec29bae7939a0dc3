// The word check: looks for the words of word-list.ts, and for sentences that begin with a question word but ask nothing.
import { passagesOf, type Passage } from './passages.ts';
import { locate, type Finding } from './findings.ts';
import type { SourceFile } from './sources.ts';
import { EXCEPTIONS, IDENTIFIER_PHRASES, IDENTIFIER_WORDS, WORD_RULES } from './word-list.ts';

interface Hit {
  /** offset in the file */
  readonly at: number;
  readonly word: string;
  readonly write: string;
}

/** Returns what is to be changed in a file, in its order. */
export function findWords(file: SourceFile): Finding[] {
  const hits = passagesOf(file).flatMap((passage) => [
    ...phraseHits(passage),
    ...sentenceHits(passage),
    ...identifierHits(passage),
    ...titleHits(file.path, passage),
  ]);
  const lines = file.text.split('\n');
  return withoutOverlaps(hits)
    .map(({ at, word, write }) => locate(file, at, { word, write }))
    .filter(({ line }) => !isException(file.path, lines[line - 1] ?? ''));
}

function phraseHits({ kind, start, text }: Passage): Hit[] {
  const searched = kind === 'code' ? text : blankCodeSpans(text);
  return WORD_RULES.filter(({ within }) => within === 'everywhere' || kind !== 'code').flatMap(
    ({ find, write }) =>
      [...searched.matchAll(find)].map((match) => ({
        at: start + match.index,
        word: match[0].replaceAll(/\s+/g, ' '),
        write,
      })),
  );
}

/** Replaces `names in backticks` by spaces: they are spelled as the thing they name. */
function blankCodeSpans(text: string): string {
  return text.replaceAll(/`[^`]*`/g, (span) => `\`${' '.repeat(Math.max(span.length - 2, 0))}\``);
}

const SENTENCE_START =
  /(?:^|[.!?:;]\s)\s*(?:@returns?\s+|[-*]\s+)?((?:What|How|Whose|Who|Why|Whether|Where|Which)\b)/giu;

/** Sentences that begin with a question word as a noun. "Where X, Y" is a condition, and a question is a question. */
function sentenceHits({ kind, start, text }: Passage): Hit[] {
  if (kind !== 'prose') return [];
  const searched = blankCodeSpans(text);
  return [...searched.matchAll(SENTENCE_START)].flatMap((match) => {
    const [whole, word = ''] = match;
    const at = match.index + whole.length - word.length;
    const sentence = /^[^]*?(?:[.;!?](?=\s|$)|$)/.exec(searched.slice(at))?.[0] ?? '';
    const isCondition = /^(?:where|why|which)$/i.test(word) && sentence.includes(',');
    if (sentence.endsWith('?') || isCondition || startsInSentence(whole, word)) return [];
    return [{ at: start + at, word, write: SENTENCE_ADVICE[word.toLowerCase()] ?? NOUN_ADVICE }];
  });
}

/** Behind a colon or semicolon only a word in capitals starts a sentence. */
function startsInSentence(whole: string, word: string): boolean {
  return /[:;]\s/.test(whole) && /^[a-z]/.test(word);
}

const NOUN_ADVICE = 'a noun phrase or a verb';

const SENTENCE_ADVICE: Readonly<Record<string, string>> = {
  whether: '"True if ..." or "Returns true if ..."',
  where: '"Path of ...", "Address of ...", "Position of ...", or "If ..., ..."',
  how: '"Number of ...", "Way in which ...", or a verb',
  who: 'the user, client, guest, host or process',
};

/** Titles of tests state the behaviour, with its subject first. */
function titleHits(path: string, { kind, start, text }: Passage): Hit[] {
  if (kind !== 'code' || !path.endsWith('.test.ts')) return [];
  return [
    ...text.matchAll(/\b(?:test|it|describe)(?:\.\w+)*\(\s*(['"`])(what|who|how|whoever|whether)\b/gi),
  ].map((match) => ({
    at: start + match.index + match[0].length - (match[2]?.length ?? 0),
    word: match[2] ?? '',
    write: 'a title that begins with the subject of the behaviour',
  }));
}

function identifierHits({ start, text }: Passage): Hit[] {
  return [...text.matchAll(/[A-Za-z_$][\w$]*/g)].flatMap((match) => {
    const words = wordsOf(match[0]);
    const old = Object.entries(IDENTIFIER_PHRASES).find(([name]) =>
      ` ${words.join(' ')} `.includes(` ${name} `),
    );
    if (old !== undefined) return [{ at: start + match.index, word: match[0], write: old[1] }];
    const word = words.find((one) => Object.hasOwn(IDENTIFIER_WORDS, one));
    if (word === undefined || word === match[0].toLowerCase()) return [];
    return [{ at: start + match.index, word: match[0], write: IDENTIFIER_WORDS[word] ?? '' }];
  });
}

/** Words of an identifier in lower case, e.g. `qemu`, `user` for `qemuUser`. */
function wordsOf(identifier: string): string[] {
  return identifier
    .replaceAll(/([a-z\d])([A-Z])/g, '$1_$2')
    .replaceAll(/([A-Z])([A-Z][a-z])/g, '$1_$2')
    .toLowerCase()
    .split(/[_$]+/);
}

/** Of hits that overlap the first and longest is kept. */
function withoutOverlaps(hits: readonly Hit[]): Hit[] {
  const sorted = hits.toSorted((a, b) => a.at - b.at || b.word.length - a.word.length);
  return sorted.filter((hit, i) => {
    const before = sorted[i - 1];
    return before === undefined || hit.at >= before.at + before.word.length;
  });
}

function isException(path: string, line: string): boolean {
  return EXCEPTIONS.some((one) => one.path.test(path) && one.line.test(line));
}
