/**
 * A bucket: the operations of an S3 server that a storage needs, through the SDK. Errors are named, missing objects are
 * `undefined`.
 */
import type { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { ByteRange, DirectUrlOptions, PutOptions } from '../core/storage.js';
import { createAttempts } from './attempts.js';
import { isMissing, isUnsupported, withS3Faults } from './s3-faults.js';
import { clientSettings, type S3Options } from './s3-options.js';
import { guardUpload } from './s3-upload.js';

/** What a server says of an object. */
export interface ObjectHead {
  /** Bytes of the whole object. */
  readonly size: number | undefined;
  /** Its media type. */
  readonly contentType: string | undefined;
  /** Its user metadata. */
  readonly facts: Readonly<Record<string, string>> | undefined;
}

/** An object a server has begun to send. */
export interface ObjectAnswer extends ObjectHead {
  /** The bytes asked for. */
  readonly body: Readable;
}

/** What to store. */
export interface BucketPut extends Pick<PutOptions, 'contentType' | 'sha256' | 'signal'> {
  /** The whole object. */
  readonly body: Uint8Array;
  /** Its user metadata. */
  readonly facts: Record<string, string>;
}

/** A bucket, by names of objects in it. */
export interface Bucket {
  /** Stores an object. */
  put(name: string, object: BucketPut): Promise<void>;
  /** Opens an object. A `range` must be inside it. */
  open(name: string, range?: ByteRange, signal?: AbortSignal): Promise<ObjectAnswer | undefined>;
  /** Describes an object. */
  head(name: string, signal?: AbortSignal): Promise<ObjectHead | undefined>;
  /** Removes objects, whether they are there or not; all it can before it throws. */
  remove(names: readonly string[], signal?: AbortSignal): Promise<void>;
  /** The names of what is below a prefix, up to a thousand at a time. */
  pages(prefix: string, signal?: AbortSignal): AsyncIterable<readonly string[]>;
  /** Signs a URL. `expiresIn` is in whole seconds from `signedAt`, epoch milliseconds. */
  sign(name: string, options: SignOptions): Promise<string>;
  /** Ends its connections, unless the client is the host's. */
  close(): void;
}

/** What to sign. */
export interface SignOptions extends Omit<DirectUrlOptions, 'expiresAt'> {
  /** Epoch milliseconds the URL counts from. */
  readonly signedAt: number;
  /** Whole seconds it is good for. */
  readonly expiresIn: number;
}

const READS = { GET: GetObjectCommand, HEAD: HeadObjectCommand } as const;
const SINGLE_REMOVALS_AT_ONCE = 8;

/** Makes the operations on a bucket. Does no I/O. */
export function createBucket(options: S3Options): Bucket {
  const client = options.client ?? new S3Client(clientSettings(options));
  const Bucket = options.bucket;

  async function pageAfter(prefix: string, token: string | undefined, signal: AbortSignal | undefined) {
    const command = new ListObjectsV2Command({ Bucket, Prefix: prefix, ContinuationToken: token });
    return withS3Faults(() => client.send(command, during(signal)), signal);
  }

  async function removeOne(Key: string, signal: AbortSignal | undefined): Promise<void> {
    await client.send(new DeleteObjectCommand({ Bucket, Key }), during(signal));
  }

  async function removeSingly(names: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    const attempts = createAttempts(signal);
    for (let at = 0; at < names.length; at += SINGLE_REMOVALS_AT_ONCE) {
      const some = names.slice(at, at + SINGLE_REMOVALS_AT_ONCE);
      await Promise.all(some.map((name) => attempts.run(() => removeOne(name, signal))));
    }
    attempts.end();
  }

  async function removeTogether(names: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    const Delete = { Objects: names.map((Key) => ({ Key })), Quiet: true };
    const command = new DeleteObjectsCommand({ Bucket, Delete });
    const { Errors: [fault] = [] } = await client.send(command, during(signal));
    if (fault !== undefined)
      throw Object.assign(new Error(fault.Message), { name: fault.Code, $metadata: {} });
  }

  return {
    async put(name, { body, contentType, sha256, facts, signal }) {
      const upload = guardUpload(body, signal);
      const command = new PutObjectCommand({
        Bucket,
        Key: name,
        Body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
        ContentLength: body.byteLength,
        ContentType: contentType,
        Metadata: facts,
      });
      // The digest is known: it need not be made again to be signed, and the server checks it.
      const withDigest = changing(({ headers }) => ({
        headers: { ...headers, 'x-amz-content-sha256': sha256 },
      }));
      command.middlewareStack.add(withDigest, { step: 'build' });
      // Innermost, so that whoever signs, measures or retries sees a buffer, and each attempt sends a body of its own.
      const withBody = changing(() => ({ body: upload.body() }));
      command.middlewareStack.add(withBody, { step: 'deserialize', priority: 'low' });
      const sent = () => client.send(command, during(upload.signal));
      await withS3Faults(sent, signal).finally(upload.end);
    },
    async open(name, range, signal) {
      const Range = range && `bytes=${range.start}-${range.end}`;
      const command = new GetObjectCommand({ Bucket, Key: name, Range });
      const answer = await found(() => client.send(command, during(signal)), signal);
      if (answer === undefined) return undefined;
      const size = range === undefined ? answer.ContentLength : totalOf(answer.ContentRange, range);
      const { ContentType: contentType, Metadata: facts, Body } = answer;
      return { size, contentType, facts, body: Body as Readable };
    },
    async head(name, signal) {
      const command = new HeadObjectCommand({ Bucket, Key: name });
      const answer = await found(() => client.send(command, during(signal)), signal);
      return (
        answer && { size: answer.ContentLength, contentType: answer.ContentType, facts: answer.Metadata }
      );
    },
    async remove(names, signal) {
      if (names.length === 0) return;
      const removing = async () => {
        if (names.length === 1) return removeSingly(names, signal);
        try {
          await removeTogether(names, signal);
        } catch (error) {
          // Google's has no such operation, and older servers want an MD5 that the SDK no longer sends.
          if (!isUnsupported(error)) throw error;
          await removeSingly(names, signal);
        }
      };
      await withS3Faults(removing, signal);
    },
    async *pages(prefix, signal) {
      let token: string | undefined;
      do {
        const page = await pageAfter(prefix, token, signal);
        yield (page.Contents ?? []).map(({ Key = '' }) => Key);
        token = page.IsTruncated ? page.NextContinuationToken : undefined;
      } while (token !== undefined);
    },
    async sign(name, { method, contentType, disposition, signedAt, expiresIn }) {
      const response = { ResponseContentType: contentType, ResponseContentDisposition: disposition };
      const command = new READS[method]({ Bucket, Key: name, ...response });
      return withS3Faults(() =>
        getSignedUrl(client, command, { signingDate: new Date(signedAt), expiresIn }),
      );
    },
    close() {
      if (options.client === undefined) client.destroy();
    },
  };
}

function during(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}

async function found<T>(ask: () => Promise<T>, signal: AbortSignal | undefined): Promise<T | undefined> {
  const asked = async () => {
    try {
      return await ask();
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  };
  return withS3Faults(asked, signal);
}

/** The size of the whole object, from the answer to a request for a range of it. */
function totalOf(contentRange: string | undefined, { start, end }: ByteRange): number | undefined {
  const total = contentRange?.startsWith(`bytes ${start}-${end}/`) && contentRange.split('/')[1];
  return total ? Number(total) : undefined;
}

/** A request as the SDK's middleware has it. */
interface WireRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** A middleware that changes a request on its way. The one it was given is left alone: it is sent again by a retry. */
function changing(change: (request: WireRequest) => Partial<WireRequest>) {
  return <Args extends { readonly request: unknown }, Result>(next: (args: Args) => Result) =>
    (args: Args): Result => {
      const request = args.request as WireRequest;
      return next({ ...args, request: { ...request, ...change(request) } });
    };
}
