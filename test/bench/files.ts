/** Servers of files, to hold the media proxy against. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { benchServer, type ServerCommand } from './processes.js';

/** Whether there is an nginx here (Debian: `apt-get install nginx-light`). */
export const HAS_NGINX: boolean = spawnSync('nginx', ['-v']).error === undefined;

/**
 * How each is started on a folder, by the column of its figures; `undefined` where it is not installed. Express from
 * memory reads nothing: it is the floor of whatever is mounted into an Express app.
 */
export const FILE_SERVERS = {
  send: (folder) => benchServer('send', { folder }),
  'express.static': (folder) => benchServer('static', { folder }),
  'Express from memory': (folder) => benchServer('memory', { folder }),
  nginx: (folder) => (HAS_NGINX ? nginx(folder) : undefined),
} as const satisfies Readonly<Record<string, (folder: string) => ServerCommand | undefined>>;

/** One process without a master, so that its CPU is all there is. */
function nginx(folder: string): ServerCommand {
  return {
    command(port) {
      const file = join(folder, 'nginx.conf');
      writeFileSync(file, nginxConf(port, folder));
      return ['nginx', '-p', folder, '-e', 'stderr', '-c', file];
    },
    probed: false,
  };
}

function nginxConf(port: number, folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
    daemon off;
    master_process off;
    pid ${folder}/nginx.pid;
    events { worker_connections 1024; }
    http {
      ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
      types { image/png png; }
      access_log off;
      sendfile on;
      tcp_nopush on;
      keepalive_requests 1000000000;
      server { listen 127.0.0.1:${port}; root ${folder}; }
    }`;
}
