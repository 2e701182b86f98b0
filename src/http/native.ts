/** The native surface: how it answers. */
import type { Dialect } from './pictures.js';
import { nativeWording } from './wire.js';

/** The words of `/v1`. */
export const nativeDialect: Dialect = {
  surface: 'native',
  bareNames: false,
  streams: false,
  defaultFormat: () => 'url',
  wording: nativeWording,
};
