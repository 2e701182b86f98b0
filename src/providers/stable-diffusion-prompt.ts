/** Prompts that would take over a server. */
import type { GenerateCall } from '../core/provider.js';
import { ProviderError } from '../errors.js';

/**
 * Refuses prompts with the control tag of stable-diffusion.cpp, in any spelling: what is inside it overrides size,
 * steps and batch of a request. Other syntax (`<lora:…>`, `(word:1.2)`, wildcards) is left to the server: it stays
 * within the picture. Throws `rejected`.
 */
export function refuseControlTags({ prompt, negativePrompt = '' }: GenerateCall): void {
  const faulty = Object.entries({ prompt, negative_prompt: negativePrompt }).find(([, text]) => hasTag(text));
  if (faulty === undefined) return;
  const [field] = faulty;
  const message = 'must not contain the tag sd_cpp_extra_args';
  throw new ProviderError('rejected', `${field} ${message}.`, {
    billed: 'no',
    details: [{ field, message }],
  });
}

function hasTag(text: string): boolean {
  // What is invisible or stands between words might be dropped on the way to whoever reads the tag.
  const bare = text.normalize('NFKC').replace(/[\s\p{C}_/\\-]/gu, '');
  return /<sdcppextraargs/i.test(bare);
}
