/** The floor: a bare reverse proxy that looks at nothing. */
import { Agent, createServer, request } from 'node:http';
import { PORT, readSettings } from './arguments.js';
import type { GatewaySettings } from './settings.js';

const { upstream } = readSettings<GatewaySettings>();
const agent = new Agent({ keepAlive: true });

createServer((incoming, outgoing) => {
  const { method, headers, url = '/' } = incoming;
  const call = request(new URL(url, upstream), { method, headers, agent }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(outgoing);
  });
  call.on('error', () => outgoing.destroy());
  incoming.pipe(call);
}).listen(PORT, '127.0.0.1');
