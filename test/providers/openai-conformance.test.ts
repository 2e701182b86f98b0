import sharp from 'sharp';
import { type OpenAIOptions, openai } from '../../src/providers/openai.js';
import { type CreateProvider, providerChecks } from '../../src/testing/provider-checks.js';
import {
  answers,
  createOpenAIUpstream,
  fieldsOf,
  GPT_IMAGE_USAGE,
  streamFrames,
  type UpstreamHandler,
} from '../support/openai-upstream.js';
import { testChecks } from '../support/run-checks.js';

const FAILING = 'a prompt that fails';

/** Draws pixels and format as asked for, in a stream where one is asked for. */
const drawn: UpstreamHandler = async (request, response) => {
  const fields = await fieldsOf(request);
  if (fields.prompt === FAILING) return answers.rateLimited()(request, response);
  const { size, output_format: outputFormat = 'png' } = fields;
  const [width = 1024, height = 1024] = size === 'auto' ? [] : String(size).split('x').map(Number);
  const image = await sharp({ create: { width, height, channels: 3, background: 'teal' } })
    .toFormat(outputFormat as 'png')
    .toBuffer();
  const answer = { image, outputFormat: String(outputFormat), usage: GPT_IMAGE_USAGE };
  const previews = Number(fields.partial_images);
  const prefix = request.path.includes('/edits') ? 'image_edit' : 'image_generation';
  const handler =
    String(fields.stream) === 'true'
      ? answers.stream(streamFrames({ ...answer, prefix, previews }))
      : answers.pictures(answer);
  return handler(request, response);
};

function createAt(optionsFor: (url: string) => OpenAIOptions): CreateProvider {
  return async () => {
    const upstream = await createOpenAIUpstream();
    upstream.respondWith(drawn);
    return {
      provider: openai(optionsFor(upstream.url)),
      failingPrompt: FAILING,
      upstreamCalls: () => upstream.requests.length,
      close: () => upstream.close(),
    };
  };
}

testChecks(
  'openai',
  providerChecks,
  createAt((baseURL) => ({ apiKey: 'sk-test', baseURL })),
);
testChecks(
  'azure',
  providerChecks,
  createAt((url) => ({
    apiKey: 'a-key',
    azure: {
      endpoint: new URL(url).origin,
      apiVersion: '2025-04-01-preview',
      deployment: { 'gpt-image-1.5': 'drawing', 'dall-e-2': 'old' },
    },
  })),
);
