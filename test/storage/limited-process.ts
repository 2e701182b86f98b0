/**
 * A process that may write no file above a size: puts a big object and says what came of it. `limited-process.ts
 * <root>`.
 */
import { isImagesError } from '../../src/errors.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { factsOf, keyOf } from './samples.js';

const [root = ''] = process.argv.slice(2);
const storage = filesystem({ root });
const big = Buffer.alloc(2_000_000, 'big');
const small = Buffer.from('small');
// Not to be killed by the signal that comes with the limit, but told by the error.
process.on('SIGXFSZ', () => undefined);

await storage.put(keyOf('small'), small, factsOf(small));
const failure = await storage.put(keyOf('big'), big, factsOf(big)).catch((error: unknown) => error);
const { code } = isImagesError(failure) ? (failure.cause as NodeJS.ErrnoException) : { code: 'stored' };
process.stdout.write(`${isImagesError(failure) ? failure.message : failure} ${code}`);
