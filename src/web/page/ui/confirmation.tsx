import { useEffect, useRef } from 'preact/hooks';

interface ConfirmationProps {
  readonly title: string;
  readonly text: string;
  readonly onClose: (isConfirmed: boolean) => void;
}

/** Asks before a request after which the guest loses data. The browser keeps the focus inside; Escape cancels. */
export function Confirmation({ title, text, onClose }: ConfirmationProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby="confirmation" onCancel={() => onClose(false)}>
      <h2 id="confirmation">{title}?</h2>
      <p>{text} The guest may lose data that it has not stored.</p>
      <div class="buttons">
        <button type="button" onClick={() => onClose(false)}>
          Cancel
        </button>
        <button type="button" class="danger" onClick={() => onClose(true)}>
          {title}
        </button>
      </div>
    </dialog>
  );
}
