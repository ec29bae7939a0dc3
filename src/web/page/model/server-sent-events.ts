/** A message of a stream of server-sent events (WHATWG HTML, section 9.2). */
export interface Message {
  /** id of this message, or of the last one that had an id */
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

/** Returns a function that takes parts of a stream and returns the messages that they complete. */
export function createMessageReader(): (part: string) => Message[] {
  let rest = '';
  let id = '';
  let event = '';
  let data: string[] = [];
  const takeLine = (line: string): Message | undefined => {
    if (line === '') {
      const message = data.length === 0 ? undefined : { id, event, data: data.join('\n') };
      event = '';
      data = [];
      return message;
    }
    const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === 'id') id = value;
    if (name === 'event') event = value;
    if (name === 'data') data.push(value);
    return undefined;
  };
  return (part) => {
    const lines = (rest + part).split('\n');
    rest = lines.pop() ?? '';
    return lines.map(takeLine).filter((message) => message !== undefined);
  };
}
