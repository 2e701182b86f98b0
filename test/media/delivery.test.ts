import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type DeliveryHeaders,
  type DeliveryPlan,
  type DeliveryRequest,
  planDelivery,
} from '../../src/media/delivery.js';
import { runs } from '../support/runs.js';

const STORED_AT = Date.UTC(2026, 2, 3, 4, 5, 6, 789);
const NOW = STORED_AT + 60_000;
const SHA256 = 'ab'.repeat(32);
const ETAG = `"${SHA256}"`;
const DATE = 'Tue, 03 Mar 2026 04:05:06 GMT';
const SIZE = 1000;

function plan(headers: DeliveryHeaders = {}, rest: Partial<DeliveryRequest> = {}): DeliveryPlan {
  return planDelivery({
    method: 'GET',
    headers,
    info: { size: SIZE, contentType: 'image/png', tag: SHA256, storedAt: STORED_AT },
    file: 'img_1.png',
    download: false,
    tokenExpiresAtMs: NOW + 3_600_000,
    nowMs: NOW,
    ...rest,
  });
}

describe('a whole picture', () => {
  it('has every header of the contract', () => {
    assert.deepEqual(plan(), {
      status: 200,
      body: true,
      range: undefined,
      headers: {
        'Accept-Ranges': 'bytes',
        'Cache-Control': 'private, max-age=3600',
        'Content-Disposition': 'inline; filename="img_1.png"',
        'Content-Length': '1000',
        'Content-Security-Policy': "default-src 'none'; sandbox",
        'Content-Type': 'image/png',
        'Cross-Origin-Resource-Policy': 'cross-origin',
        ETag: ETAG,
        'Last-Modified': DATE,
        'Referrer-Policy': 'no-referrer',
        'X-Content-Type-Options': 'nosniff',
      },
    });
  });

  it('has the same headers and no body for HEAD, which knows no ranges', () => {
    assert.deepEqual(plan({ range: 'bytes=0-1' }, { method: 'HEAD' }), { ...plan(), body: false });
  });

  it('is an attachment when it is to be saved', () => {
    const { headers } = plan({}, { download: true });
    assert.equal(headers['Content-Disposition'], 'attachment; filename="img_1.png"');
  });

  it('lets no name out of its quotes', () => {
    const { headers } = plan({}, { file: 'a"; filename=evil.html\r\nX: y\\é' });
    assert.equal(headers['Content-Disposition'], 'inline; filename="a___filename_evil.html__X__y__"');
  });

  it('is never cached longer than its link lives', () => {
    const age = (left: number) => plan({}, { tokenExpiresAtMs: NOW + left }).headers['Cache-Control'];
    assert.equal(age(1999), 'private, max-age=1');
    assert.equal(age(999), 'private, max-age=0');
    assert.equal(age(-5000), 'private, max-age=0');
  });
});

describe('a conditional request', () => {
  const status = (headers: DeliveryHeaders) => plan(headers).status;

  it('is answered 304 for a tag the client has, compared weakly, alone or in a list', () => {
    const matching = [
      ETAG,
      `W/${ETAG}`,
      `"other", ${ETAG}`,
      `W/"a,b",${ETAG} , "x"`,
      `,, ${ETAG},`,
      '*',
      ' * ',
    ];
    for (const tags of matching) assert.equal(status({ 'if-none-match': tags }), 304, tags);
    const others = [
      '"other"',
      SHA256,
      `w/${ETAG}`,
      `"${SHA256.toUpperCase()}"`,
      `*, "x"`,
      '',
      `"x${SHA256}"`,
    ];
    for (const tags of others) assert.equal(status({ 'if-none-match': tags }), 200, tags);
  });

  it('is answered 304 for a date not before the second it was stored in', () => {
    const same = [DATE, 'Tuesday, 03-Mar-26 04:05:06 GMT', 'Tue Mar  3 04:05:06 2026'];
    const later = ['Tue, 03 Mar 2026 04:05:07 GMT', 'Fri, 01 Jan 2100 00:00:00 GMT'];
    for (const date of [...same, ...later]) assert.equal(status({ 'if-modified-since': date }), 304, date);
    assert.equal(status({ 'if-modified-since': 'Tue, 03 Mar 2026 04:05:05 GMT' }), 200);
  });

  it('ignores what is no HTTP date', () => {
    const wrong = [
      '',
      'yesterday',
      '2100-01-01',
      '4102444800',
      'Fri, 01 Jan 2100 00:00:00',
      `${DATE}, ${DATE}`,
    ];
    const wrongToo = [
      'Fri, 99 Jan 2100 00:00:00 GMT',
      'Fri, 01 Jan 2100 00:00:00 +0000',
      'Sun, 30 Feb 2031 10:00:00 GMT',
    ];
    for (const date of [...wrong, ...wrongToo])
      assert.equal(status({ 'if-modified-since': date }), 200, date);
  });

  it('goes by the tag when it has both', () => {
    assert.equal(status({ 'if-none-match': '"other"', 'if-modified-since': DATE }), 200);
    const old = 'Thu, 01 Jan 1970 00:00:00 GMT';
    assert.equal(status({ 'if-none-match': ETAG, 'if-modified-since': old }), 304);
  });

  it('is refused with 412 when the picture has none of the tags it must have, compared strongly', () => {
    const others = ['"other"', `W/${ETAG}`, SHA256, '', `*, "x"`];
    for (const tags of others) assert.equal(status({ 'if-match': tags }), 412, tags);
    for (const tags of [ETAG, `"other" , ${ETAG}`, '*'])
      assert.equal(status({ 'if-match': tags }), 200, tags);
  });

  it('is refused with 412 when the picture is newer than it may be', () => {
    assert.equal(status({ 'if-unmodified-since': 'Tue, 03 Mar 2026 04:05:05 GMT' }), 412);
    for (const date of [DATE, 'Fri, 01 Jan 2100 00:00:00 GMT', 'yesterday', '']) {
      assert.equal(status({ 'if-unmodified-since': date }), 200, date);
    }
    const old = 'Thu, 01 Jan 1970 00:00:00 GMT';
    assert.equal(status({ 'if-match': ETAG, 'if-unmodified-since': old }), 200, 'the tag decides');
  });

  it('is refused before anything else is looked at, without a body, and kept by no cache', () => {
    const conditions = { 'if-match': '"other"', 'if-none-match': ETAG, range: 'bytes=0-0' };
    for (const method of ['GET', 'HEAD'] as const) {
      const { status: refused, body, range, headers } = plan(conditions, { method });
      assert.deepEqual([refused, body, range], [412, false, undefined]);
      assert.equal(headers['Cache-Control'], 'no-store');
      assert.equal(headers['Content-Length'], '0');
      assert.equal(headers.ETag, ETAG);
    }
  });

  it('comes before ranges, also for HEAD', () => {
    assert.equal(status({ 'if-none-match': ETAG, range: 'bytes=0-0' }), 304);
    assert.equal(status({ 'if-none-match': ETAG, range: 'bytes=9999-' }), 304);
    assert.equal(plan({ 'if-none-match': ETAG }, { method: 'HEAD' }).status, 304);
  });

  it('answers 304 without a body, with the headers that keep the copy fresh and safe', () => {
    const { headers, body, range } = plan({ 'if-none-match': ETAG });
    assert.deepEqual([body, range], [false, undefined]);
    const {
      'Content-Length': _length,
      'Content-Type': _type,
      'Content-Disposition': _name,
      ...kept
    } = plan().headers;
    assert.deepEqual(headers, kept);
  });
});

describe('a range', () => {
  it('is answered 206 with its place and its length', () => {
    const { status, headers, range, body } = plan({ range: 'bytes=10-19' });
    assert.deepEqual([status, body, range], [206, true, { start: 10, end: 19 }]);
    const part = { 'Content-Length': '10', 'Content-Range': 'bytes 10-19/1000' };
    assert.deepEqual(headers, { ...plan().headers, ...part });
  });

  it('outside the picture is answered 416 with the true size, without a body, and kept by no cache', () => {
    const { status, headers, range, body } = plan({ range: 'bytes=1000-' });
    assert.deepEqual([status, body, range], [416, false, undefined]);
    assert.equal(headers['Content-Range'], 'bytes */1000');
    assert.equal(headers['Content-Length'], '0');
    assert.equal(headers['Cache-Control'], 'no-store');
    assert.equal(headers['Content-Type'], undefined);
  });

  it('is given only of the copy that If-Range names, compared strongly', () => {
    const status = (validator: string) => plan({ range: 'bytes=0-9', 'if-range': validator }).status;
    for (const same of [ETAG, DATE]) assert.equal(status(same), 206, same);
    const later = 'Tue, 03 Mar 2026 04:05:07 GMT';
    const others = [
      `W/${ETAG}`,
      '"other"',
      SHA256,
      '*',
      '',
      `${ETAG}, "x"`,
      later,
      'Tue, 03 Mar 2026 04:05:05 GMT',
    ];
    for (const other of others) assert.equal(status(other), 200, other);
    assert.equal(plan({ range: 'bytes=5000-', 'if-range': '"other"' }).status, 200);
  });
});

describe('any plan', () => {
  it('keeps its promises whatever the client sends', () => {
    const header = fc.option(
      fc.oneof(
        fc.constantFrom(ETAG, `W/${ETAG}`, '*', DATE, 'bytes=0-', 'bytes=-1', 'bytes=5000-', 'bytes=0-0,2-3'),
        fc.string({ unit: 'binary' }),
        fc.tuple(fc.nat(1200), fc.nat(1200)).map(([first, last]) => `bytes=${first}-${last}`),
      ),
      { nil: undefined },
    );
    const headers = fc.record({
      'if-match': header,
      'if-unmodified-since': header,
      'if-none-match': header,
      'if-modified-since': header,
      'if-range': header,
      range: header,
    });
    fc.assert(
      fc.property(headers, fc.constantFrom('GET', 'HEAD'), (given, method) => {
        const { status, body, range, headers: sent } = plan(given, { method });
        assert.equal(body, method === 'GET' && (status === 200 || status === 206));
        assert.equal(range !== undefined, status === 206);
        assert.ok(method === 'GET' || [200, 304, 412].includes(status), `HEAD is answered ${status}`);
        if (range) assert.ok(0 <= range.start && range.start <= range.end && range.end < SIZE);
        const length = range ? range.end - range.start + 1 : SIZE;
        if (status === 200 || status === 206) assert.equal(sent['Content-Length'], String(length));
        assert.equal(sent['Content-Range'] !== undefined, status === 206 || status === 416);
        assert.ok(Object.values(sent).every((value) => /^[\x20-\x7e]+$/.test(value)));
      }),
      runs(1_000),
    );
  });
});
