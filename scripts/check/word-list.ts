// Words and phrases that this project does not use, each with what to write instead. `words.ts` looks for them.
// Readers know QEMU, KVM, virtio and Cloud Hypervisor: one thing has one name, and a sentence says who does what to what.

export interface WordRule {
  readonly find: RegExp;
  /** the term to use, or how to put the sentence */
  readonly write: string;
  /** `prose`: comments and documents only; `everywhere`: also strings and identifiers */
  readonly within: 'prose' | 'everywhere';
}

/** Spaces between the words of a phrase, which may stand on two lines. */
const GAP = String.raw`\s+`;

/** Makes a rule for a phrase in regular-expression syntax: a space matches any spaces and line breaks. */
function phrase(pattern: string, write: string, within: WordRule['within'] = 'everywhere'): WordRule {
  const source = pattern.replaceAll(' ', GAP);
  return { find: new RegExp(String.raw`(?<![\w-])(?:${source})(?![\w-])`, 'giu'), write, within };
}

/** Nouns after which "the original" is an adjective. */
const ORIGINAL_THING =
  'errors?|messages?|causes?|texts?|files?|images?|bytes|requests?|paths?|descriptors?|values?|order|sizes?|names?|objects?|reports?|snapshots?|configurations?|VMs?|machines?|process|sockets?|content';

const ENGINE_KIND = '(?<!Docker )(?<!container )(?<!JavaScript )(?<!V8 )';

export const WORD_RULES: readonly WordRule[] = [
  phrase(`${ENGINE_KIND}engines?`, 'QEMU'),
  phrase(String.raw`the originals?(?! (?:${ORIGINAL_THING})\b)`, 'Cloud Hypervisor'),
  phrase('originals', 'Cloud Hypervisor'),
  phrase('anew', '"again", or the verb with "re-"'),
  phrase('once more', '"again"'),
  phrase('mend(?:s|ed|ing)?', '"fix"'),
  phrase(
    // not the name in quotes, nor in a path
    String.raw`(?!(?<=(['"\x60]))nobody\1)(?<!user )(?<![/:])nobody(?![/:])`,
    'the user, client, guest, host or process that does not',
  ),
  phrase('somebody|someone|anybody|anyone|everybody|everyone', 'the user, client, guest, host or process'),
  phrase('no one(?! (?:of|else))', 'the user, client, guest, host or process that does not', 'prose'),
  phrase('who(?:m|so)?ever', 'the user, client, guest, host or process that does'),
  phrase(`(?:those|them|they|he|one|ones|that) who`, 'the user, client, guest, host or process that does'),
  phrase('(?:him|them|one|it)who', 'the user, client, guest, host or process that does'),
  phrase(
    'who (?:waits?|asks?|watches|sees|takes|reads|sends|wants)',
    'the client, reader or caller',
    'prose',
  ),
  phrase(
    '(?:process|client|guest|host|caller|program|reader|peer|device|thread|file|back-end|VM) who|who (?:maps|serves|polls)',
    'that, or the user',
    'prose',
  ),
  phrase('ours', "Nephos's, the VMM's or this process's", 'prose'),
  // in capitals it is a country
  { find: /(?<![\w-])(?<!\d )[Uu]s(?![\w-])/gu, write: 'Nephos, the VMM or this process', within: 'prose' },
  // life and death
  phrase('lives again|comes? to life|came to life', '"is restored" or "starts"'),
  phrase('lives|live (?:in|on) (?:a|the) (?:file|folder|memory)', '"is in", "runs" or "exists"', 'prose'),
  phrase('dies(?! (?:of|per|in a package))|died|dying', '"exits", "is killed" or "closes"', 'prose'),
  phrase('deaths?', '"exit" or "kill"', 'prose'),
  phrase('(?<!keep-)alive', '"running" or "open"', 'prose'),
  phrase(
    `(?:life|lives) of|(?:'s|’s|this|one|its|whole|usual) life|in life`,
    '"lifetime", "lifecycle", or boot to exit',
  ),
  phrase('turns? (?:in|of) (?:the |a |its )?(?:life|VM|machine|guest)s?', '"lifecycle event"'),
  phrase(String.raw`(?:QEMU|VMM|VM|machine|process|guest|program)['’]s end(?! of)`, '"exit"', 'prose'),
  phrase('the end of (?:QEMU|(?:the|a) (?:VMM|VM|machine|process|guest))', '"exit"', 'prose'),
  phrase('(?:at|of|with|after|about|by|for) its end', '"exit" or "completion"', 'prose'),
  // things that are not spoken of as persons
  phrase('speaks?|spoke|spoken', '"uses the protocol", "sends" or "implements"', 'prose'),
  phrase('talks? (?:to|of|with)|talking|hears?|heard', '"connects to", "receives"', 'prose'),
  phrase('thinks?|believes?|remembers?', '"expects", "stores" or "drops"', 'prose'),
  // in capitals it is a request of FUSE
  {
    find: /(?<![\w-])[Ff]org(?:ets?|ot(?:ten)?)(?![\w-])/gu,
    write: '"expects", "stores" or "drops"',
    within: 'prose',
  },
  phrase('learns?(?! (?:how|to))', '"receives", "is notified" or "reads"', 'prose'),
  phrase('told', '"receives", "is reported" or "is notified"', 'prose'),
  phrase(
    String.raw`(?:QEMU|Hypervisor|original|kernel)(?:['’]s)? (?:own |last )?words`,
    '"message", "text" or "option"',
  ),
  phrase('last words', '"last output lines"'),
  phrase(
    'in vain|fate|strangers?|lest',
    'the fact: "without effect", "state", "other process", "so that ... not"',
    'prose',
  ),
  // places and movements
  phrase('rooms?', '"space", "memory", "buffer" or "credit"'),
  phrase('(?<!by )hand(?:s|ed|ing)? (?:over|out|down|on|to|them|it)|handed', '"pass"'),
  phrase('(?:comes?|came|coming) back', '"return" or "reconnect"'),
  phrase('(?:goes|go|went|gone|going) away', '"close", "disconnect" or "be detached"'),
  phrase('(?:take|takes|took|taken|taking)(?: \\w+){0,2} away', '"remove" or "detach"'),
  phrase('(?:give|gives|gave|given|giving)(?: \\w+){0,3} back', '"release" or "return"'),
  phrase('(?:put|puts|putting)(?: \\w+){0,2} back', '"restore" or "reattach"', 'prose'),
  phrase("(?:the )?other side(?:s|['’]s)?", '"peer", "source", "destination", "front-end" or "back-end"'),
  phrase(
    'a move|the moves?|a moved VM|(?:VM|guest) (?:is|was) (?:moved|moving)|moving (?:a|the) (?:VM|guest)',
    '"live migration"',
    'prose',
  ),
  phrase('here and there', '"source and destination"', 'prose'),
  phrase('memory of (?:a|the) VM', '"guest memory" or "RAM"', 'prose'),
  phrase(
    'base of (?:the|an) (?:overlay|image)|(?:is|it is) based on (?:another|the) (?:image|file)',
    '"backing file"',
    'prose',
  ),
  phrase(
    '(?:device|disk|network|client|back-end)s? (?:comes?|goes|came|went)(?! (?:back|away|from|through|with|into|to|first|last|later|before|after))',
    '"is attached", "is detached", "connects" or "disconnects"',
    'prose',
  ),
  phrase(
    '(?:VM|machine|guest) (?:is|was) saved|sav(?:es?|ing) (?:a|the) (?:VM|machine|guest)',
    '"takes a snapshot"',
    'prose',
  ),
  phrase('what (?:is open|waits?|is known)', '"open file descriptors", "queue" or "host facts"', 'prose'),
  phrase('what (?:was|is|were) saved|saved (?:state|machine|one|VM)s?', '"snapshot" or "snapshot state"'),
  // names of the past
  phrase('like-starts?|like starts?', '"machine description"'),
  phrase('saved-machines?', '"snapshot state"'),
  phrase('handed-files', '"passed descriptors"'),
  phrase('early-devices?', 'the name of the devices that are made before the guest runs'),
];

/** Words that are not part of an identifier, in any spelling (camelCase, CONSTANT_CASE). */
export const IDENTIFIER_WORDS: Readonly<Record<string, string>> = {
  engine: 'qemu',
  engines: 'qemu',
  room: 'space, memory or credit',
  rooms: 'space, memory or credit',
  anew: 'again',
  mended: 'fixed',
  handed: 'passed',
  nobody: 'the subject',
  somebody: 'the subject',
  whoever: 'the subject',
};

/** Names of the past as parts of an identifier, in lower case. */
export const IDENTIFIER_PHRASES: Readonly<Record<string, string>> = {
  'like start': 'machineDescription',
  'saved machine': 'snapshotState',
  'first steps': 'firmwarePhase',
  'early devices': 'the name of the devices',
};

/** Texts that stay: the name of something outside of this project, or a saved or served format. */
export interface Exception {
  readonly path: RegExp;
  /** the line that has the word */
  readonly line: RegExp;
  readonly reason: string;
}

export const EXCEPTIONS: readonly Exception[] = [
  { path: /^scripts\/check\/(?:word-list|\w+\.test)\.ts$/, line: /./, reason: 'they list the words' },
  { path: /^scripts\/check\/words\.ts$/, line: /matchAll/, reason: 'it lists question words' },
  { path: /^package\.json$/, line: /"engines": \{/, reason: "npm's name" },
  {
    path: /^src\/(?:snapshot-files|vm\/(?:snapshot|machine-state|migration))\/|^tests\/hung-files\.test\.ts$/,
    line: /\{ engine\b|\bengine\??(?::|,$)|'engine'/,
    reason: 'a key of state.json, manifest.json and the messages of a live migration',
  },
  {
    path: /^(?:src\/vm\/observe|tests)\/metrics(?:\.test)?\.ts$/,
    line: /\bengine: |process="engine"|'engine'\]/,
    reason: 'the value of a label in the metrics',
  },
  {
    path: /^src\/vm\/machine-state\//,
    line: /\bisInFirstSteps\b/,
    reason: 'a key of state.json and the messages of a live migration',
  },
  { path: /./, line: /\bNOBODY\b/, reason: 'the user of that name' },
];
