/** The native surface: its words for generating pictures. */
import { type GenerateDialect, refuseField } from './generate.js';
import { nativeAnswer } from './wire.js';

/** `POST /v1/inference/images/generate`. */
export const nativeGenerate: GenerateDialect = {
  surface: 'native',
  bareNames: false,
  defaultFormat: () => 'url',
  check(fields) {
    if (fields.stream === true) refuseField('stream', 'streams are at POST /oai/v1/images/generations');
  },
  answer: nativeAnswer,
};
