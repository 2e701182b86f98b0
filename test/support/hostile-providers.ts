/** Providers and stores that do what the shipped ones never do, made around real ones. */
import type { GenerateCall, GenerateEvent, Provider } from '../../src/core/provider.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { type PlaceholderOptions, placeholder } from '../../src/providers/placeholder.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { testModel } from './app.js';

/** Takes a call's events and makes others of them. */
export type Alter = (
  events: AsyncIterable<GenerateEvent>,
  call: GenerateCall,
) => AsyncIterable<GenerateEvent>;

/** The placeholder with its events altered. */
export function altered(alter: Alter, options: PlaceholderOptions = {}): Provider {
  const provider = placeholder({ models: [testModel()], ...options });
  return { ...provider, generate: (call) => alter(provider.generate(call), call) };
}

/** The placeholder, as a vendor that rewrites prompts. */
export function revising(revisedPrompt: string): Provider {
  return altered(async function* (events) {
    for await (const event of events) yield event.type === 'image' ? { ...event, revisedPrompt } : event;
  });
}

/** Memory storage that tells which keys were put. */
export function countingStorage(): { readonly storage: MediaStorage; readonly puts: readonly string[] } {
  const storage = memoryStorage();
  const puts: string[] = [];
  const put: MediaStorage['put'] = (key, body, options) => {
    puts.push(key);
    return storage.put(key, body, options);
  };
  return { storage: { ...storage, put }, puts };
}
