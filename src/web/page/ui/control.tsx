import type { FormField } from '../model/fields.ts';
import { showJson } from '../model/json.ts';

interface ControlProps {
  readonly id: string;
  readonly field: FormField;
  readonly isRequired: boolean;
  readonly text: string;
  readonly onEnter: (text: string) => void;
}

/** The control of one field, by its kind. An empty value stands for the default. */
export function Control({ id, field, isRequired, text, onEnter }: ControlProps) {
  const { kind, schema } = field;
  const shared = { id, value: text, required: isRequired, 'aria-describedby': `${id}-hint` };
  const byDefault = schema.defaultValue === undefined ? '' : showJson(schema.defaultValue);
  if (kind === 'flag' || kind === 'choice') {
    const words = kind === 'flag' ? ['true', 'false'] : schema.enum;
    return (
      <select {...shared} onChange={({ currentTarget }) => onEnter(currentTarget.value)}>
        <option value="">{byDefault === '' ? 'default' : `default: ${byDefault}`}</option>
        {words.map((word) => (
          <option key={word} value={word}>
            {word}
          </option>
        ))}
      </select>
    );
  }
  if (kind === 'json') {
    return (
      <textarea
        {...shared}
        rows={3}
        placeholder="JSON"
        spellcheck={false}
        onInput={({ currentTarget }) => onEnter(currentTarget.value)}
      />
    );
  }
  return (
    <input
      {...shared}
      type="text"
      inputMode={kind === 'number' ? 'numeric' : 'text'}
      placeholder={byDefault}
      autocomplete="off"
      spellcheck={false}
      onInput={({ currentTarget }) => onEnter(currentTarget.value)}
    />
  );
}
