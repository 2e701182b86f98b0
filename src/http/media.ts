/**
 * The media proxy: stored pictures, and smaller or otherwise encoded versions of them, for whoever has a signed link.
 */
import { ImagesError } from '../errors.js';
import type { LinkSigner } from '../media/link.js';
import { type MediaFile, parseMediaFile, pictureKey } from '../media/picture-id.js';
import { madeAt, notFound } from '../media/picture-store.js';
import { turnOf, untilCutOff } from './disconnect.js';
import type { Exchange } from './exchange.js';
import type { Handler } from './handle.js';
import { createMediaAnswers, type MediaAnswersOptions, type ServedFromStorage } from './media-answer.js';
import { type MediaVariantsOptions, variantServer } from './media-variant.js';
import { queryOf } from './query.js';
import { readTransform, transformParameters } from './transform-query.js';

/** What the media proxy takes. */
export interface MediaOptions extends MediaAnswersOptions, Omit<MediaVariantsOptions, 'answers'> {
  /** Checks links. */
  readonly signer: LinkSigner;
  /** Whether clients are sent to where storage itself serves an original, if it does. */
  readonly redirects: boolean;
}

/** What a good link leads to. */
export interface Opened {
  /** The file of the URL taken apart. */
  readonly file: MediaFile;
  /** What stands after the question mark. */
  readonly query: URLSearchParams;
  /** The original. */
  readonly original: ServedFromStorage;
}

/** Serves `GET` and `HEAD` of `/v1/media/{file}?token=…`. */
export function mediaHandler(options: MediaOptions): Handler {
  const answers = createMediaAnswers(options);
  const serveVariant = variantServer({ ...options, answers });
  const parameters = transformParameters(options.transforms);
  function serve(exchange: Exchange): Promise<void> | undefined {
    const opened = open(exchange, options);
    const transform = readTransform(opened.query, parameters);
    if (transform !== undefined) return serveVariant(exchange, opened, transform);
    const { original } = opened;
    return answers.known(exchange, original) ? undefined : serveOriginal(exchange, original);
  }
  async function serveOriginal(exchange: Exchange, original: ServedFromStorage): Promise<void> {
    if (!(await answers.stored(exchange, original))) throw notFound();
  }

  // What is answered at once needs no promises.
  return (exchange) =>
    untilCutOff(options.deadlines, () => {
      const turn = turnOf(exchange.res);
      if (turn === undefined) return serve(exchange);
      return turn.then(() => (exchange.res.destroyed ? undefined : serve(exchange)));
    });
}

/** The token comes first: without a good one, what is absent and what is another's look the same. */
function open({ req }: Exchange, { signer, redirects }: MediaOptions): Opened {
  const name = req.path.slice(req.path.lastIndexOf('/') + 1);
  const query = queryOf(req);
  const [token = '', ...others] = query.getAll('token');
  const verdict = signer.verify({ file: name, token, nowMs: Date.now() });
  if (others.length > 0 || verdict.state === 'invalid') {
    throw new ImagesError('MEDIA_TOKEN_INVALID', 'This link is not valid. Ask the API for a fresh one.');
  }
  if (verdict.state === 'expired') {
    throw new ImagesError('MEDIA_TOKEN_EXPIRED', 'This link has expired. Ask the API for a fresh one.');
  }
  const file = parseMediaFile(name);
  if (file === undefined) throw notFound();
  const original: ServedFromStorage = {
    key: pictureKey(file.id),
    accepts: ({ contentType }) => contentType === file.contentType,
    version: (info) => ({ tag: info.sha256, storedAt: madeAt(info) }),
    file: name,
    download: query.get('download') === '1',
    tokenExpiresAtMs: verdict.expiresAtMs,
    varies: false,
    redirects,
  };
  return { file, query, original };
}
