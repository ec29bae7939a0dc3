import { RestoreConfig } from '../api/requests.ts';
import { warningsOf } from '../config/decode-vm-config.ts';
import { parseFlag } from '../config/from-words.ts';
import { decode } from '../schema/decode.ts';

/** Request to restore a VM, with warnings for its members without effect. */
export interface DecodedRestore {
  readonly request: RestoreConfig;
  readonly warnings: readonly string[];
}

/**
 * Decodes a restore request from an option string, or from JSON, which can also have `overrides`.
 * @throws ConfigError, DecodeError; SyntaxError for a text that is no JSON
 */
export function decodeRestore(text: string): DecodedRestore {
  const { json, warnings } = text.startsWith('{')
    ? { json: JSON.parse(text) as unknown, warnings: [] }
    : parseFlag('restore', RestoreConfig, text);
  const request = decode(RestoreConfig, json);
  return { request, warnings: [...warnings, ...warningsOf(RestoreConfig, json, request)] };
}
