import sharp from 'sharp';
import { openai } from '../../src/providers/openai.js';
import { type CreateProvider, providerChecks } from '../../src/testing/provider-checks.js';
import {
  answers,
  createOpenAIUpstream,
  GPT_IMAGE_USAGE,
  jsonBody,
  type UpstreamHandler,
} from '../support/openai-upstream.js';
import { testChecks } from '../support/run-checks.js';

const FAILING = 'a prompt that fails';

/** Draws pixels and format as asked for. */
const drawn: UpstreamHandler = async (request, response) => {
  const { prompt, size, output_format: outputFormat = 'png' } = jsonBody(request);
  if (prompt === FAILING) return answers.rateLimited()(request, response);
  const [width = 1024, height = 1024] = size === 'auto' ? [] : String(size).split('x').map(Number);
  const image = await sharp({ create: { width, height, channels: 3, background: 'teal' } })
    .toFormat(outputFormat as 'png')
    .toBuffer();
  const usage = GPT_IMAGE_USAGE;
  return answers.pictures({ image, outputFormat: String(outputFormat), usage })(request, response);
};

const create: CreateProvider = async () => {
  const upstream = await createOpenAIUpstream();
  upstream.respondWith(drawn);
  return {
    provider: openai({ apiKey: 'sk-test', baseURL: upstream.url }),
    failingPrompt: FAILING,
    upstreamCalls: () => upstream.requests.length,
    close: () => upstream.close(),
  };
};

testChecks('openai', providerChecks, create);
