import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { type CreateProvider, providerChecks } from '../../src/testing/provider-checks.js';
import { createOpenAIShapedServer, FAILING_PROMPT } from '../support/diffusion-openai.js';
import { createSdapiServer, TOO_LARGE_PROMPT } from '../support/diffusion-sdapi.js';
import { createStabilityServer, STABILITY_KEY, STABILITY_PROMPTS } from '../support/diffusion-stability.js';
import { testChecks } from '../support/run-checks.js';

const several = [{ maxImages: 4 }];

const sdapi: CreateProvider = async () => {
  const server = await createSdapiServer({ grid: true });
  return {
    provider: stableDiffusion({ url: server.url, models: several }),
    failingPrompt: TOO_LARGE_PROMPT,
    close: () => server.close(),
  };
};

const openaiShaped: CreateProvider = async () => {
  const server = await createOpenAIShapedServer();
  return {
    provider: stableDiffusion({ url: server.url, models: several }),
    failingPrompt: FAILING_PROMPT,
    close: () => server.close(),
  };
};

const stability: CreateProvider = async () => {
  const server = await createStabilityServer();
  return {
    provider: stableDiffusion({ url: server.url, protocol: 'stability', apiKey: STABILITY_KEY }),
    failingPrompt: STABILITY_PROMPTS.refused,
    blockedPrompt: STABILITY_PROMPTS.withheld,
    close: () => server.close(),
  };
};

testChecks('stable diffusion by sdapi', providerChecks, sdapi);
testChecks('stable diffusion by an OpenAI-shaped server', providerChecks, openaiShaped);
testChecks('stable diffusion at Stability', providerChecks, stability);
