import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import { createStore, type PageState } from './store.ts';
import type { Vmm } from './vmm.ts';

/** The VMM of the page; `main.tsx` provides it. */
export const VmmContext = createContext<Vmm>({
  store: createStore(),
  send: () => undefined,
  cancelOperation: () => undefined,
});

export function useVmm(): Vmm {
  return useContext(VmmContext);
}

/** Returns the state of the page, and renders again after each change. */
export function usePage(): PageState {
  const { store } = useVmm();
  const [state, setState] = useState(store.read());
  useEffect(() => {
    const update = (): void => setState(store.read());
    update();
    return store.subscribe(update);
  }, [store]);
  return state;
}
