import { after, before, test } from 'node:test';
import { OpenAI } from 'openai';
import { openaiProgram } from './openai-program.js';
import { type ClientServer, startClientServer } from './server.js';

let server: ClientServer;
before(async () => {
  server = await startClientServer();
});
after(() => server.close());

for (const { title, run } of openaiProgram) {
  test(`openai: ${title}`, () => run({ OpenAI, url: server.url }));
}
