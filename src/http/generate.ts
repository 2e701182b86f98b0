/** Reading generate bodies. */
import { imageRequest, unknownFields } from './fields.js';
import type { Intake } from './intake.js';
import type { OperationReader } from './operation.js';
import { createValidator, generateProperties, generateSchema } from './schema.js';

/** Makes the reader of generate bodies. */
export function generateReader(intake: Intake): OperationReader {
  const validate = createValidator(generateSchema);
  return {
    eventPrefix: 'image_generation',
    async read(exchange) {
      const fields = await intake.fields(exchange, validate);
      return {
        fields,
        request: imageRequest(fields, 'generate'),
        warnings: unknownFields(fields, generateProperties),
      };
    },
  };
}
