/** What the OpenAPI document says of the answers to requests for pictures. */

interface Answer {
  readonly description: string;
  /** Its headers, beside those of every answer. */
  readonly headers: readonly string[];
  /** The type of its body, where it has one. */
  readonly type?: string;
}

const PICTURE = 'image/*';
const ERROR = 'application/json';

const ON_EVERY_ANSWER = [
  'X-Request-Id',
  'Cache-Control',
  'X-Content-Type-Options',
  'Content-Security-Policy',
  'Cross-Origin-Resource-Policy',
  'Referrer-Policy',
];
const VALIDATORS = ['ETag', 'Last-Modified', 'Accept-Ranges'];
const BODY = ['Content-Length', 'Content-Disposition'];

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  'X-Request-Id': 'Names the request, in events too.',
  'Cache-Control': 'How long a copy is good: never longer than the link.',
  ETag: 'Strong; stands for these bytes.',
  'Last-Modified': 'When the picture was made.',
  'Content-Disposition': 'A name to save it under.',
  'Content-Range': 'Which part this is, and of how much.',
  Location: 'Where storage itself serves it, for a while.',
  Allow: 'What is served.',
};

const ANSWERS: Readonly<Record<string, Answer>> = {
  '200': { description: 'The picture.', headers: [...VALIDATORS, ...BODY], type: PICTURE },
  '206': {
    description: 'The part of it that `Range` asks for.',
    headers: [...VALIDATORS, ...BODY, 'Content-Range'],
    type: PICTURE,
  },
  '302': { description: 'Storage serves it.', headers: ['Location'] },
  '304': { description: 'The client has it.', headers: VALIDATORS },
  '403': { description: 'The link is not genuine.', headers: [], type: ERROR },
  '404': { description: 'The picture is gone.', headers: [], type: ERROR },
  '405': { description: 'The method is not served.', headers: ['Allow'], type: ERROR },
  '410': { description: 'The link is over.', headers: [], type: ERROR },
  '412': { description: 'The picture is not the one the client means.', headers: VALIDATORS },
  '416': { description: 'The picture has no such part.', headers: ['Content-Range'] },
  '422': { description: 'There is no such version.', headers: [], type: ERROR },
  '503': { description: 'Storage failed, or too many versions are being made.', headers: [], type: ERROR },
};

/** The answers to a request for a picture, as OpenAPI has them. */
export function mediaResponses(redirects: boolean): object {
  const given = Object.entries(ANSWERS).filter(([status]) => redirects || status !== '302');
  return Object.fromEntries(given.map(([status, answer]) => [status, responseObject(answer)]));
}

function responseObject({ description, headers, type }: Answer): object {
  const named = [...ON_EVERY_ANSWER, ...headers].map((name) => [
    name,
    {
      ...(DESCRIPTIONS[name] !== undefined && { description: DESCRIPTIONS[name] }),
      schema: { type: 'string' },
    },
  ]);
  return {
    description,
    headers: Object.fromEntries(named),
    ...(type !== undefined && { content: { [type]: {} } }),
  };
}
