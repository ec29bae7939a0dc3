import { isEntered, pathOf, type Entered, type FormField } from '../model/fields.ts';
import { labelOf } from '../model/format.ts';
import { Control } from './control.tsx';

interface FieldsProps {
  readonly fields: readonly FormField[];
  /** name of the form, for the ids of its controls */
  readonly form: string;
  /** path of the group */
  readonly parent: string;
  readonly entered: Entered;
  readonly onEnter: (path: string, text: string) => void;
}

/** Fields shown at once; the others can be opened. */
const SHOWN = 4;

/** The fields of an object: the first ones, then the others on request. */
export function Fields(props: FieldsProps) {
  const { fields } = props;
  const required = fields.filter(({ isRequired }) => isRequired).length;
  const shown = fields.length <= SHOWN + 2 ? fields.length : Math.max(required, SHOWN);
  const others = fields.slice(shown);
  return (
    <>
      <FieldList {...props} fields={fields.slice(0, shown)} />
      {others.length > 0 && (
        <details class="more">
          <summary>More fields</summary>
          <FieldList {...props} fields={others} />
        </details>
      )}
    </>
  );
}

function FieldList({ fields, form, parent, entered, onEnter }: FieldsProps) {
  return (
    <div class="fields">
      {fields.map((field) => {
        const path = pathOf(parent, field.name);
        if (field.kind === 'group') {
          return (
            <details key={path} class="group">
              <summary>{labelOf(field.name)}</summary>
              <fieldset>
                <legend>{field.schema.description}</legend>
                <Fields fields={field.fields} form={form} parent={path} entered={entered} onEnter={onEnter} />
              </fieldset>
            </details>
          );
        }
        const id = `${form}-${path}`;
        return (
          <div key={path} class="field">
            <label for={id}>
              {labelOf(field.name)}
              {field.isRequired && <span class="note"> (required)</span>}
            </label>
            <Control
              id={id}
              field={field}
              isRequired={field.isRequired && (parent === '' || isEntered(entered, parent))}
              text={entered.get(path) ?? ''}
              onEnter={(text) => onEnter(path, text)}
            />
            <small id={`${id}-hint`}>{field.schema.description}</small>
          </div>
        );
      })}
    </div>
  );
}
