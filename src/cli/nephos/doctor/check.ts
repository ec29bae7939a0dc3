/** Result of one check of the machine. */
export interface Check {
  readonly subject: string;
  /** `missing`: nephos run cannot work; `warning`: something works less, or more slowly */
  readonly result: 'ok' | 'warning' | 'missing';
  /** facts in one line */
  readonly found: string;
  /** commands or steps that remove the problem */
  readonly cure?: string;
}

/** Makes a check that succeeded. */
export function ok(subject: string, found: string): Check {
  return { subject, result: 'ok', found };
}

/** Makes a check that found a limit. */
export function warning(subject: string, found: string, cure: string): Check {
  return { subject, result: 'warning', found, cure };
}

/** Makes a check that found a problem. */
export function missing(subject: string, found: string, cure: string): Check {
  return { subject, result: 'missing', found, cure };
}
