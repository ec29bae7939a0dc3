import {
  add,
  call,
  define,
  give,
  less,
  multiply,
  not,
  set,
  space,
  storeWord,
  text,
  when,
  wordAt,
  type ProgramFunction,
} from '../machine-code/program.ts';

/** Most words of all steps. */
const MOST_WORDS = 32_768;

/** List of words that the program has collected: addresses of texts, ended by 0. */
export const WORDS = space('words', (MOST_WORDS + 1) * 8);
const wordCount = space('word count', 8);

/** Address of the next word in a list that ends with 0. */
export const CURSOR = space('cursor', 8);

export const WORD_FUNCTIONS: readonly ProgramFunction[] = [
  define(
    'addWord',
    ['word'],
    [
      when(less(wordAt(wordCount), MOST_WORDS), [
        storeWord(add(WORDS, multiply(wordAt(wordCount), 8)), 'word'),
        storeWord(wordCount, add(wordAt(wordCount), 1)),
      ]),
    ],
  ),

  /** the next word; an empty text if there is none */
  define(
    'next',
    [],
    [
      set('word', wordAt(wordAt(CURSOR))),
      when(not('word'), [give(text(''))]),
      storeWord(CURSOR, add(wordAt(CURSOR), 8)),
      give('word'),
    ],
  ),

  define('takeWords', ['list'], [storeWord(CURSOR, 'list'), give(call('takeSteps'))]),
];
