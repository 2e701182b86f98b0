/** The OpenAI surface: its words for generating pictures, for unmodified OpenAI clients. */
import { type GenerateDialect, refuseField } from './generate.js';
import { openaiAnswer } from './wire.js';

/** `POST /oai/v1/images/generations`. */
export const openaiGenerate: GenerateDialect = {
  surface: 'openai',
  bareNames: true,
  defaultFormat: ({ target }) => target.asked.model.defaultResponseFormat,
  check(fields) {
    if (fields.stream === true) refuseField('stream', 'streaming is not offered here; leave it out');
  },
  answer: openaiAnswer,
};
