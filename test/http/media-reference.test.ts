/**
 * Conditional and range requests, held against `send`, the reference of Express: the same requests to a `send` server
 * over the same bytes, date and tag. Where `send` leaves RFC 9110, it is asked what the RFC makes of the request.
 */
import assert from 'node:assert/strict';
import { utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import send from 'send';
import { createTestApp } from '../support/app.js';
import { ask, draw, type RawAnswer } from '../support/media.js';
import { runs } from '../support/runs.js';
import { temporaryFolder } from '../support/temporary-folder.js';

interface Asked {
  readonly method: 'GET' | 'HEAD';
  readonly headers: Readonly<Record<string, string>>;
}

/** What both servers have. */
interface Picture {
  readonly tag: string;
  readonly date: string;
  readonly size: number;
}

/** Where `send` leaves the RFC. */
interface Difference {
  readonly what: string;
  /** The section of RFC 9110 that says otherwise, or leaves it open. */
  readonly section: string;
  /** What the RFC makes of such a request, in words `send` understands; the request itself where nothing differs. */
  readonly read: (asked: Asked, picture: Picture) => Asked;
  /** A request both answer differently, so that no line of this table outlives its reason. */
  readonly example: (picture: Picture) => Asked;
}

/** What looks like dates to JavaScript and is none to HTTP. */
const NOT_HTTP_DATES = ['2000-01-01', '2100-01-01T00:00:00Z', 'Fri, 01 Jan 2100 00:00:00', '1 Jan 2000'];

const get = (headers: Asked['headers']): Asked => ({ method: 'GET', headers });

function without(asked: Asked, ...names: readonly string[]): Asked {
  const headers = Object.entries(asked.headers).filter(([name]) => !names.includes(name));
  return { ...asked, headers: Object.fromEntries(headers) };
}

const DIFFERENCES: readonly Difference[] = [
  {
    what: 'ranges are for GET alone',
    section: '14.2',
    read: (asked) => (asked.method === 'HEAD' ? without(asked, 'range') : asked),
    example: () => ({ method: 'HEAD', headers: { range: 'bytes=0-9' } }),
  },
  {
    what: 'units are case-insensitive',
    section: '14.1',
    read: (asked) => {
      const { range } = asked.headers;
      return range === undefined
        ? asked
        : { ...asked, headers: { ...asked.headers, range: range.replace(/^bytes/i, 'bytes') } };
    },
    example: () => get({ range: 'BYTES=0-9' }),
  },
  {
    what: 'a part that ends before it begins is malformed, and what is malformed is ignored',
    section: '14.1.1',
    read: (asked) => (isReversed(asked.headers.range) ? without(asked, 'range') : asked),
    example: () => get({ range: 'bytes=9-1' }),
  },
  {
    what: 'a suffix longer than the picture is all of it',
    section: '14.1.2',
    read: (asked, { size }) => {
      const suffix = /^bytes=[ \t]*-(\d+)[ \t]*$/.exec(asked.headers.range ?? '')?.[1];
      if (suffix === undefined || Number(suffix) <= size) return asked;
      return { ...asked, headers: { ...asked.headers, range: `bytes=-${size}` } };
    },
    example: () => get({ range: 'bytes=-999999999' }),
  },
  {
    what: 'a length is digits alone, and what is malformed is ignored',
    section: '14.1.2',
    read: (asked) => (/-[ \t]+\d/.test(asked.headers.range ?? '') ? without(asked, 'range') : asked),
    example: () => get({ range: 'bytes=- 1' }),
  },
  {
    what: 'several parts may be ignored; send merges neighbours',
    section: '14.2',
    read: (asked) => (asked.headers.range?.includes(',') === true ? without(asked, 'range') : asked),
    example: () => get({ range: 'bytes=0-4,5-9' }),
  },
  {
    what: 'If-Match compares strongly',
    section: '13.1.1',
    read: (asked) => {
      const tags = asked.headers['if-match'];
      if (tags === undefined) return asked;
      const strong = tags.split(',').filter((tag) => !/^\s*W\//.test(tag));
      const list = strong.join(',').trim() || '"none"';
      return { ...asked, headers: { ...asked.headers, 'if-match': list } };
    },
    example: ({ tag }) => get({ 'if-match': `W/${tag}` }),
  },
  {
    what: 'If-Range compares tags strongly and knows no lists',
    section: '13.1.5',
    read: (asked, { tag }) => {
      const validator = asked.headers['if-range'];
      return validator?.includes('"') === true && validator !== tag ? without(asked, 'range') : asked;
    },
    example: ({ tag }) => get({ range: 'bytes=0-9', 'if-range': `W/${tag}` }),
  },
  {
    what: 'If-Range wants exactly the date of the picture',
    section: '13.1.5',
    read: (asked, { tag, date }) => {
      const validator = asked.headers['if-range'];
      const isExact = validator === undefined || validator === tag || validator === date;
      return isExact ? asked : without(asked, 'range');
    },
    example: () => get({ range: 'bytes=0-9', 'if-range': 'Fri, 01 Jan 2100 00:00:00 GMT' }),
  },
  {
    what: 'what is no HTTP date is ignored',
    section: '13.1.3',
    read: (asked) => {
      const isWrong = (name: string) => NOT_HTTP_DATES.includes(asked.headers[name] ?? '');
      return without(asked, ...['if-modified-since', 'if-unmodified-since'].filter(isWrong));
    },
    example: () => get({ 'if-modified-since': '2100-01-01T00:00:00Z' }),
  },
  {
    what: 'no-cache is said to caches; the condition was meant for us',
    section: '13.2.1',
    read: (asked) => without(asked, 'cache-control'),
    example: ({ tag }) => get({ 'if-none-match': tag, 'cache-control': 'no-cache' }),
  },
];

function isReversed(range: string | undefined): boolean {
  const [, first, last] = /^bytes=[ \t]*(\d+)-(\d+)[ \t]*$/i.exec(range ?? '') ?? [];
  return first !== undefined && last !== undefined && BigInt(last) < BigInt(first);
}

/** The request as the RFC reads it. */
function asTheRfcReads(asked: Asked, picture: Picture): Asked {
  return DIFFERENCES.reduce((read, difference) => difference.read(read, picture), asked);
}

const COMPARED = [
  'etag',
  'last-modified',
  'accept-ranges',
  'content-length',
  'content-range',
  'content-type',
];

/** What must be the same. The answers `send` gives to errors are pages with headers of their own. */
function factsOf({ status, headers, body }: RawAnswer): object {
  if (status === 412) return { status };
  if (status === 416) return { status, contentRange: headers['content-range'] };
  return { status, headers: COMPARED.map((name) => headers[name]), body: body.toString('latin1') };
}

function requests({ tag, date, size }: Picture): fc.Arbitrary<Asked> {
  const otherDates = ['Thu, 01 Jan 1970 00:00:00 GMT', 'Fri, 01 Jan 2100 00:00:00 GMT'];
  const dates = fc.constantFrom(date, ...otherDates, ...NOT_HTTP_DATES, 'yesterday');
  const aTag = fc.constantFrom(tag, `W/${tag}`, '"other"', 'W/"a,b"', tag.toLowerCase().replaceAll('"', ''));
  const tags = fc.oneof(
    fc.constant('*'),
    fc.array(aTag, { minLength: 1, maxLength: 3 }).chain((list) => {
      return fc.constantFrom(', ', ',', ' ,  ').map((comma) => list.join(comma));
    }),
  );
  const place = fc.oneof(fc.nat(size + 10), fc.constantFrom(0, 1, size - 1, size, 2 ** 53, 1e21), fc.nat(20));
  const digits = place.map((number) => BigInt(number).toString());
  const part = fc.oneof(
    fc.tuple(digits, digits).map(([first, last]) => `${first}-${last}`),
    digits.map((first) => `${first}-`),
    digits.map((length) => `-${length}`),
    fc.constantFrom('-', '', 'a-b', '1', '0x1-2', '1-2-3', '+1-2', '1.5-2', '- 1'),
  );
  const ranges = fc
    .tuple(
      fc.constantFrom('bytes=', 'bytes=', 'bytes=', 'BYTES=', 'bytes= ', 'bytes', 'pages=', 'bytes ='),
      fc.array(part, { minLength: 1, maxLength: 3 }),
    )
    .map(([unit, parts]) => unit + parts.join(','));
  const oneRange = fc.tuple(digits, digits).map(([first, last]) => `bytes=${first}-${last}`);
  const headers = fc.record(
    {
      range: fc.oneof(ranges, oneRange),
      'if-range': fc.oneof(aTag, dates, tags),
      'if-none-match': tags,
      'if-modified-since': dates,
      'if-match': tags,
      'if-unmodified-since': dates,
      'cache-control': fc.constantFrom('no-cache', 'max-age=0'),
    },
    { requiredKeys: [] },
  );
  return fc.record({ method: fc.constantFrom('GET' as const, 'HEAD' as const), headers });
}

describe('beside send', () => {
  const cleaners: (() => Promise<void>)[] = [];
  const scope = { after: (clean: () => Promise<void>) => void cleaners.push(clean) };
  let picture: Picture;
  let ours: (asked: Asked) => Promise<RawAnswer>;
  let theirs: (asked: Asked) => Promise<RawAnswer>;

  before(async () => {
    const app = await createTestApp(scope);
    const { pathname, search } = new URL((await draw(app)).url);
    ours = ({ method, headers }) => ask({ port: app.port, path: pathname + search, method }, headers);
    const { headers, body } = await ours(get({}));
    const [tag, date] = [String(headers.etag), String(headers['last-modified'])];
    picture = { tag, date, size: body.length };

    const root = await temporaryFolder(scope);
    await writeFile(join(root, 'picture.png'), body);
    await utimes(join(root, 'picture.png'), new Date(date), new Date(date));
    const server = createServer((req, res) => {
      res.setHeader('ETag', tag);
      send(req, '/picture.png', { root, cacheControl: false }).pipe(res);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    theirs = (asked) => ask({ port, path: '/', method: asked.method }, asked.headers);
    scope.after(async () => void server.close());
  });

  after(async () => {
    for (const clean of cleaners.reverse()) await clean();
  });

  it('random requests are answered as send does, or as RFC 9110 says where send does not', async () => {
    await fc.assert(
      fc.asyncProperty(requests(picture), async (asked) => {
        const [answer, reference] = await Promise.all([ours(asked), theirs(asTheRfcReads(asked, picture))]);
        assert.deepEqual(factsOf(answer), factsOf(reference));
      }),
      runs(300),
    );
  });

  for (const { what, section, example } of DIFFERENCES) {
    it(`RFC 9110, ${section}, before send: ${what}`, async () => {
      const asked = example(picture);
      const [answer, reference] = await Promise.all([ours(asked), theirs(asked)]);
      assert.notDeepEqual(factsOf(answer), factsOf(reference));
      assert.deepEqual(factsOf(answer), factsOf(await theirs(asTheRfcReads(asked, picture))));
    });
  }
});
