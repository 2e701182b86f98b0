/** What `s3()` takes, checked, and the settings of the client it makes. */
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { ConfigError } from '../errors.js';

/** Where `s3()` keeps its objects, and how it gets there. */
export interface S3Options {
  /** The bucket; it must exist. */
  readonly bucket: string;
  /**
   * What every key in the bucket starts with, such as `media`; segments of letters, digits and `!_.*'()-` joined by
   * `/`.
   * @defaultValue nothing
   */
  readonly prefix?: string | undefined;
  /** The bucket's region. @defaultValue `us-east-1` with an `endpoint`, else what the SDK finds in its environment */
  readonly region?: string | undefined;
  /** URL of a server that is not AWS: Ceph, MinIO, R2, Garage. @defaultValue AWS */
  readonly endpoint?: string | undefined;
  /**
   * Names the bucket in the path of URLs instead of their host.
   * @defaultValue `true` with an `endpoint`, else `false`
   */
  readonly forcePathStyle?: boolean | undefined;
  /** Keys, or a function that gets them. @defaultValue what the SDK finds in its environment */
  readonly credentials?: S3ClientConfig['credentials'] | undefined;
  /**
   * A client of your own instead of `region`, `endpoint`, `forcePathStyle` and `credentials`. It retries and waits as
   * you made it, and is yours to destroy.
   * @defaultValue one is made
   */
  readonly client?: S3Client | undefined;
}

const CLIENT_OPTIONS = ['region', 'endpoint', 'forcePathStyle', 'credentials'] as const;
const PREFIX_SEGMENT = /^[\w!*'()-][\w!.*'()-]*$/;
const ATTEMPTS = 3;
const CONNECT_MS = 5_000;
const ANSWER_MS = 60_000;
// The SDK's own bound of 50 would let as many slow readers keep everybody else from storing anything.
const AGENT = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY };

/** Throws a `ConfigError` for what cannot be right. */
export function checkS3Options(options: S3Options): void {
  const { bucket, endpoint, client } = options;
  if (typeof bucket !== 'string' || bucket === '')
    throw new ConfigError('bucket', 'must be the name of a bucket');
  resolvePrefix(options.prefix);
  if (endpoint !== undefined && !/^https?:\/\//.test(URL.canParse(endpoint) ? endpoint : '')) {
    throw new ConfigError('endpoint', 'must be a URL such as https://s3.example.com');
  }
  const other = CLIENT_OPTIONS.find((name) => options[name] !== undefined);
  if (client !== undefined && other !== undefined) {
    throw new ConfigError(other, 'belongs to the client, which is given ready-made');
  }
}

/** A prefix with a slash at its end, or nothing. Throws a `ConfigError` for one that is none. */
export function resolvePrefix(prefix = ''): string {
  if (prefix === '') return '';
  const plain = String(prefix).replace(/\/$/, '');
  if (plain.split('/').every((segment) => PREFIX_SEGMENT.test(segment))) return `${plain}/`;
  throw new ConfigError('prefix', 'must be words joined by "/", such as media/pictures');
}

/** The settings of a client of ours. */
export function clientSettings({ region, endpoint, forcePathStyle, credentials }: S3Options): S3ClientConfig {
  const isCustom = endpoint !== undefined;
  return {
    region: region ?? (isCustom ? 'us-east-1' : undefined),
    endpoint,
    forcePathStyle: forcePathStyle ?? isCustom,
    credentials,
    // Each body travels with its SHA-256, which every server checks; further checksums are refused by many of them.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Servers that never answer it would cost seconds for each object.
    expectContinueHeader: false,
    retryMode: 'standard',
    maxAttempts: ATTEMPTS,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      requestTimeout: ANSWER_MS,
      throwOnRequestTimeout: true,
      httpAgent: AGENT,
      httpsAgent: AGENT,
    },
  } as S3ClientConfig;
}
