/** Rules by which an S3 server removes expired objects on its own. */
import type { BucketLifecycleConfiguration } from '@aws-sdk/client-s3';
import { ConfigError } from '../errors.js';
import { resolvePrefix } from './s3-options.js';

/** What {@link s3Lifecycle} makes rules for. */
export interface S3LifecycleOptions {
  /** The `prefix` of the storage. @defaultValue nothing: all objects of the bucket */
  readonly prefix?: string | undefined;
  /** How long pictures are kept, as in `media.retentionSeconds`. @defaultValue `604800` */
  readonly retentionSeconds?: number | undefined;
  /** Whether the bucket keeps versions: those of removed pictures then go a day later. @defaultValue `false` */
  readonly versioned?: boolean | undefined;
}

const DAY_S = 86_400;
const ID = 'express-images-router';

/**
 * Makes a lifecycle configuration for a bucket: originals below the prefix go a day or two after they expired, and
 * uploads a day after they were begun and never ended. A server counts from when it took an object. So smaller versions
 * and what waited while storage was down, which expire with the picture they belong to, go up to `retentionSeconds` and
 * two days after that. Give it to `PutBucketLifecycleConfiguration`, which replaces the
 * rules a bucket has: add those you want to keep. Throws a `ConfigError` for wrong options.
 */
export function s3Lifecycle(options: S3LifecycleOptions = {}): BucketLifecycleConfiguration {
  const { retentionSeconds = 7 * DAY_S, versioned = false } = options;
  const Filter = { Prefix: resolvePrefix(options.prefix) };
  if (!Number.isFinite(retentionSeconds) || retentionSeconds <= 0) {
    throw new ConfigError('retentionSeconds', 'must be a number of seconds above 0');
  }
  const rules = {
    expire: { Expiration: { Days: Math.ceil(retentionSeconds / DAY_S) + 1 } },
    uploads: { AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 } },
    ...(versioned && { versions: { NoncurrentVersionExpiration: { NoncurrentDays: 1 } } }),
  };
  const Rules = Object.entries(rules).map(([name, rule]) => ({
    ID: `${ID}-${name}`,
    Status: 'Enabled' as const,
    Filter,
    ...rule,
  }));
  return { Rules };
}
