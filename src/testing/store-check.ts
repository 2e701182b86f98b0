/** Checks of stores that several processes may share: each opens its instances and closes them. */
import type { Check } from './check.js';

/** What may hold something until it is closed. */
interface Closable {
  close?(): Promise<void>;
}

/** What a check works with. */
export interface StoreSubject<Store> {
  /** The store under test. */
  readonly store: Store;
  /** Opens another instance over the same data. */
  another(): Promise<Store>;
}

/** A promise and how it is checked. */
export interface StoreCheck<Store> extends Omit<Check<unknown>, 'run' | 'level'> {
  /** Throws when the promise is broken. */
  readonly run: (subject: StoreSubject<Store>) => Promise<void>;
}

/** Makes a MUST check that opens its stores and closes each once. */
export function storeCheck<Store extends Closable>({
  id,
  title,
  run,
}: StoreCheck<Store>): Check<() => Store | Promise<Store>> {
  return {
    id,
    title,
    level: 'MUST',
    async run(create) {
      const opened = new Set<Store>();
      const another = async () => {
        const store = await create();
        opened.add(store);
        return store;
      };
      try {
        await run({ store: await another(), another });
      } finally {
        for (const store of opened) await store.close?.();
      }
      return undefined;
    },
  };
}
