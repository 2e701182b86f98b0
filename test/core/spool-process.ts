/** A process in whose spool a picture waits: `spool-process.ts <expires at>`. Says so on standard output, and lives on. */
import { createSpool } from '../../src/core/spool.js';
import { memoryStorage } from '../../src/storage/memory.js';

const expiresAt = Number(process.argv[2]);
const storage = { ...memoryStorage(), put: async () => Promise.reject(new Error('down')) };
const spool = createSpool({ storage, maxBytes: 1000, storageMs: 1000, emit: () => undefined });
const facts = { contentType: 'image/png', sha256: '', expiresAt, metadata: {} };
await spool.keep({ id: 'id', key: 'key', bytes: Buffer.from('picture'), facts, requestId: 'req' });
process.stdout.write('kept');
setInterval(() => undefined, 60_000);
