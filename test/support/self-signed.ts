/** A certificate for `localhost` that signs itself, good for an hour, made of nothing but Node. */
import { createSign, generateKeyPairSync } from 'node:crypto';

/** What a TLS server and those who trust it need. */
export interface SelfSigned {
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly privateKey: string;
}

/** One value in DER: its tag, its length, its contents. */
function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents);
  const long = Buffer.from([0x82, body.length >> 8, body.length & 0xff]);
  return Buffer.concat([Buffer.from([tag]), body.length < 128 ? Buffer.from([body.length]) : long, body]);
}

const sequence = (...contents: readonly Uint8Array[]) => der(0x30, ...contents);
const object = (hex: string) => der(0x06, Buffer.from(hex, 'hex'));
const text = (tag: number, value: string) => der(tag, Buffer.from(value, 'latin1'));

const COMMON_NAME = '550403';
const ALTERNATIVE_NAMES = '551d11';
const ECDSA_WITH_SHA256 = '2a8648ce3d040302';

function utcTime(at: number): Buffer {
  return text(0x17, `${new Date(at).toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`);
}

/** Makes one. */
export function selfSigned(): SelfSigned {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = sequence(der(0x31, sequence(object(COMMON_NAME), text(0x0c, 'localhost'))));
  const algorithm = sequence(object(ECDSA_WITH_SHA256));
  const hour = 60 * 60 * 1000;
  const facts = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    algorithm,
    name,
    sequence(utcTime(Date.now() - hour), utcTime(Date.now() + hour)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(sequence(object(ALTERNATIVE_NAMES), der(0x04, sequence(text(0x82, 'localhost')))))),
  );
  const signature = createSign('sha256').update(facts).sign(privateKey);
  const whole = sequence(facts, algorithm, der(0x03, Buffer.from([0]), signature));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    certificate: ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n'),
    privateKey: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  };
}
