/** HTTP by hand, for clients that no library would be: they break off, never end, or lie. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** What a raw connection brought back. */
export interface RawAnswer {
  /** From the status line; 0 when nothing came. */
  readonly status: number;
  /** Everything that came, head and body. */
  readonly text: string;
}

/** A connection to 127.0.0.1. */
export interface RawConnection {
  /** The socket. */
  readonly socket: Socket;
  /** Resolves with the first answer once its head and, by `Content-Length`, its body are there. */
  readonly answer: Promise<RawAnswer>;
  /** Resolves when the connection is closed. */
  readonly closed: Promise<unknown>;
}

function answerIn(text: string): RawAnswer | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const length = Number(/^content-length: (\d+)$/im.exec(text.slice(0, end))?.[1] ?? 0);
  if (Buffer.byteLength(text) < end + 4 + length) return undefined;
  return { status: Number(text.slice(9, 12)), text };
}

/** Connects and sends the head of a request. */
export async function openRaw(port: number, head: readonly string[]): Promise<RawConnection> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  // A connection that is cut while the client still writes may end in a reset, for which once() would throw.
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const answer = new Promise<RawAnswer>((resolve) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const whole = answerIn(text);
      if (whole !== undefined) resolve(whole);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve({ status: 0, text }));
  });
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  return { socket, answer, closed };
}

/** One chunk of a chunked body. */
export function chunk(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}
