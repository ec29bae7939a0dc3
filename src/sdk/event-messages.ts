/** A message of a stream of server-sent events. */
export interface Message {
  /** last id of the stream: that of this message, or of one before */
  readonly id: string;
  /** empty where the message has only an id */
  readonly data: string;
}

/** Returns a parser of server-sent events (WHATWG HTML, section 9.2.6): it gets the parts of a text, and returns the whole messages. */
export function createMessageParser(): (part: string) => Message[] {
  let rest = '';
  let id = '';
  return (part) => {
    const texts = (rest + part).replaceAll('\r\n', '\n').split('\n\n');
    rest = texts.pop() ?? '';
    return texts.map((text) => {
      const fields = text.split('\n').map(readField);
      id = fields.findLast(([name]) => name === 'id')?.[1] ?? id;
      const data = fields.filter(([name]) => name === 'data').map(([, value]) => value);
      return { id, data: data.join('\n') };
    });
  };
}

/** Splits a line. A comment is a field with an empty name. */
function readField(line: string): [name: string, value: string] {
  const colon = line.indexOf(':');
  if (colon < 0) return [line, ''];
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
}
