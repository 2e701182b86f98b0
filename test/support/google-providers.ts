/** `imagen()` in front of a server in Google's place, by either transport. */
import { grpc } from 'google-gax';
import type { Provider } from '../../src/core/provider.js';
import { type ImagenOptions, imagen } from '../../src/providers/imagen.js';
import { createGrpcUpstream } from './google-grpc.js';
import { createRestUpstream } from './google-rest.js';
import type { GoogleUpstream } from './google-upstream.js';

/** A provider and the server it talks to. */
export interface GoogleBench {
  readonly provider: Provider;
  readonly upstream: GoogleUpstream;
  /** Ends both. */
  close(): Promise<void>;
}

/** What the SDK's client is told so that it speaks without TLS, with a key that opens nothing. */
const PLAIN = {
  grpc: { sslCreds: grpc.credentials.createInsecure(), apiKey: 'key-of-nothing' },
  rest: { protocol: 'http', apiKey: 'key-of-nothing' },
} as const;

/** Starts both. */
export async function startGoogle(
  transport: 'grpc' | 'rest',
  options: Partial<ImagenOptions> = {},
): Promise<GoogleBench> {
  const upstream = await (transport === 'grpc' ? createGrpcUpstream() : createRestUpstream());
  const provider = imagen({
    project: 'easel',
    transport,
    apiEndpoint: `127.0.0.1:${upstream.port}`,
    clientOptions: PLAIN[transport],
    ...options,
  });
  return {
    provider,
    upstream,
    async close() {
      await provider.close?.();
      await upstream.close();
    },
  };
}
