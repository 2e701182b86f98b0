/** The OpenAI surface: how it answers unmodified OpenAI clients. */
import type { Dialect } from './pictures.js';
import { openaiWording } from './wire.js';

/** The words of `/oai/v1`. */
export const openaiDialect: Dialect = {
  surface: 'openai',
  bareNames: true,
  streams: true,
  // Real clients read nothing but b64_json from an edit.
  defaultFormat: ({ target, plan }) =>
    plan.settings.operation === 'edit' ? 'b64_json' : target.asked.model.defaultResponseFormat,
  wording: openaiWording,
};
